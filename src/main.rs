//! The `leadshare` command.
#![forbid(unsafe_code)]

/// Gives memory back that a start or a burst took, and costs less than the system's where every lead makes hundreds of small texts.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    leadshare::cli::main()
}
