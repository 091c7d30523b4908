//! Processes under measurement: started, watched through `/proc`, ended.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

/// A child process; killed when dropped.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose words go into `<name>.log` in this folder.
    pub fn start(name: &str, dir: &Path, program: &Path, args: &[&str]) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// Waits until something listens there.
    pub async fn listens(&mut self, at: SocketAddr, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        while tokio::net::TcpStream::connect(at).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}): {}", self.name, self.last_words());
            }
            if Instant::now() > end {
                bail!("{} does not listen on {at}: {}", self.name, self.last_words());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// CPU seconds used so far.
    pub fn cpu(&self) -> f64 {
        cpu_of(&PathBuf::from(format!("/proc/{}/stat", self.child.id())))
    }

    /// Memory in MiB: the most it ever held, and what it holds now.
    pub fn rss(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim_start_matches(':').split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
        };
        (of("VmHWM"), of("VmRSS"))
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// CPU seconds from a `stat` file. The kernel counts in hundredths of a second for user space.
fn cpu_of(stat: &Path) -> f64 {
    let text = std::fs::read_to_string(stat).unwrap_or_default();
    // The command's name, in brackets, may hold blanks.
    let fields: Vec<&str> = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |n: usize| fields.get(n).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// CPU seconds of this process's threads whose name starts so.
pub fn cpu_of_threads(name: &str) -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let named = |dir: &Path| std::fs::read_to_string(dir.join("comm")).is_ok_and(|comm| comm.starts_with(name));
    tasks.flatten().map(|task| task.path()).filter(|dir| named(dir)).map(|dir| cpu_of(&dir.join("stat"))).sum()
}

/// A free port on loopback.
pub fn free_port() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The daemon's binary: beside this one.
pub fn daemon_binary() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("leadshare");
    if !path.exists() {
        bail!("{} is not built: use the scripts in tests/load", path.display());
    }
    Ok(path)
}
