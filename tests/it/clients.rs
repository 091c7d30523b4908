//! The vendors' own client libraries against our simulators: what they were written for must work here too.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A simulator as `leadshare sandbox` serves it; ended when dropped.
struct Simulator {
    process: Child,
    url: String,
    token: String,
}

impl Simulator {
    fn start(vendor: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leadshare"));
        command.args(["sandbox", vendor, "--listen", "127.0.0.1:0", "--json"]);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the simulator starts");
        let mut line = String::new();
        std::io::BufReader::new(process.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("`leadshare sandbox {vendor}` said {line:?}"));
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        Self { process, url: text("url"), token: text("token") }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/counterparts/clients")
}

/// The Python of the environment that holds the client libraries; made once, under a lock of its own.
fn python() -> PathBuf {
    let made = Command::new(folder().join("venv")).stdin(Stdio::null()).output().expect("bash runs");
    assert!(made.status.success(), "the client libraries could not be installed:\n{}", String::from_utf8_lossy(&made.stderr));
    Path::new(String::from_utf8_lossy(&made.stdout).trim()).join("bin/python")
}

fn judge(vendor: &str) {
    let simulator = Simulator::start(vendor);
    let mut check = Command::new(python());
    check.arg(folder().join(format!("{vendor}_client.py"))).arg(&simulator.url).arg(&simulator.token);
    let out = check.stdin(Stdio::null()).output().expect("Python runs");
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "the client library is not content with our {vendor}:\n{said}");
    assert!(said.lines().filter(|line| line.starts_with("ok: ")).count() >= 5, "too few steps were taken:\n{said}");
}

// Breaks when our HubSpot answers what HubSpot's own client library does not understand.
#[test]
fn hubspots_own_client_works_with_our_simulator() {
    judge("hubspot");
}

// Breaks when our Salesforce answers what simple-salesforce does not understand.
#[test]
fn a_salesforce_client_works_with_our_simulator() {
    judge("salesforce");
}
