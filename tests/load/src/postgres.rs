//! A PostgreSQL server for a run: started from the installed binaries as an unprivileged user, durable as in production.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The server; stopped when dropped.
pub struct Server {
    bin: PathBuf,
    data: PathBuf,
    port: u16,
}

fn binaries() -> Result<PathBuf> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed: apt-get install postgresql")?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|e| e.path().join("bin")).filter(|bin| bin.join("initdb").exists()).collect();
    found.sort();
    found.pop().context("PostgreSQL is not installed: apt-get install postgresql")
}

fn root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

fn as_postgres(program: &Path) -> Command {
    // initdb and the server refuse to run as root.
    if root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn done(command: &mut Command) -> Result<()> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !out.status.success() {
        bail!("{command:?}: {}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}

impl Server {
    /// Makes a cluster and starts it, with `fsync` on.
    pub fn start(port: u16) -> Result<Self> {
        let bin = binaries()?;
        // On a disk, unlike `/tmp` on some systems, and where an unprivileged user may go.
        let dir = PathBuf::from(format!("/var/tmp/leadshare-load-{}", std::process::id()));
        let dir = dir.as_path();
        std::fs::create_dir_all(dir)?;
        if root() {
            done(Command::new("chown").arg("postgres:postgres").arg(dir))?;
        }
        let data = dir.join("data");
        done(as_postgres(&bin.join("initdb")).current_dir(dir).arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]))?;
        let mut start = as_postgres(&bin.join("pg_ctl"));
        start.current_dir(dir).arg("-D").arg(&data).args(["-w", "-l"]).arg(dir.join("log")).arg("-o");
        // What Debian's packages set, but for the address and the socket.
        start.arg(format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={}", dir.display())).arg("start");
        // The server keeps what it inherits open, so that a pipe would never end.
        let status = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if !status.success() {
            bail!("the PostgreSQL server did not start: see {}", dir.join("log").display());
        }
        Ok(Self { bin, data, port })
    }

    /// The address of a new, empty database.
    pub fn database(&self, name: &str) -> Result<String> {
        let mut create = Command::new(self.bin.join("psql"));
        create.args(["-h", "127.0.0.1", "-U", "postgres", "-qc", &format!("CREATE DATABASE {name}"), "-p", &self.port.to_string()]);
        done(&mut create)?;
        Ok(format!("postgres://postgres@127.0.0.1:{}/{name}", self.port))
    }

    /// CPU seconds of the server and everything that it started and that is still there or has ended.
    pub fn cpu(&self) -> f64 {
        let pid = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let pid = pid.lines().next().unwrap_or_default();
        let Ok(entries) = std::fs::read_dir("/proc") else { return 0.0 };
        let stats = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        let seconds = stats.filter_map(|text| {
            let own = text.split(' ').next() == Some(pid);
            let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
            let ticks = |from: usize, to: usize| fields.get(from..to).map(|f| f.iter().filter_map(|t| t.parse::<f64>().ok()).sum::<f64>());
            // Of the server itself, also what its ended children used.
            (own || fields.get(1) == Some(&pid)).then(|| ticks(11, if own { 15 } else { 13 }).unwrap_or(0.0) / 100.0)
        });
        seconds.sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = as_postgres(&self.bin.join("pg_ctl"));
        let _ = stop.arg("-D").arg(&self.data).args(["-m", "immediate", "stop"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if let Some(dir) = self.data.parent() {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}
