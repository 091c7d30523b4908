"""What both client checks share: the command line, and how a surprise ends the program."""

import sys
import time
import traceback


class Surprise(Exception):
    """The simulator answered something that the vendor's library or its users would not expect."""


def expect(condition, what):
    if not condition:
        raise Surprise(what)


def refused(call, kind, what):
    """The call must raise an exception of this kind, which is answered."""
    try:
        call()
    except kind as error:
        return error
    raise Surprise(f"{what} was not refused")


def eventually(call, what, seconds=60):
    """What the call answers once that is true; search indexes run behind."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = call()
        if found:
            return found
        time.sleep(0.5)
    raise Surprise(f"{what} did not happen within {seconds} s")


def main(name, steps):
    """Runs the steps with BASE_URL and TOKEN; exit code 0 = as expected, 1 = a surprise, 2 = usage."""
    if len(sys.argv) != 3:
        print(f"usage: {name} BASE_URL TOKEN", file=sys.stderr)
        sys.exit(2)
    done = []
    try:
        for step in steps(sys.argv[1].rstrip("/"), sys.argv[2]):
            done.append(step)
            print(f"ok: {step}")
    except Surprise as surprise:
        print(f"{name}: after `{done[-1] if done else 'nothing'}`: {surprise}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        print(f"{name}: after `{done[-1] if done else 'nothing'}`: the client library did not understand the answer", file=sys.stderr)
        sys.exit(1)
