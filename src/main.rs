//! The `leadshare` command.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    leadshare::cli::main()
}
