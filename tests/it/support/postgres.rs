//! A PostgreSQL server for the tests: started from the installed binaries, as an unprivileged user.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::place::Place;

/// A server with its folder; it outlives the process only until a watcher sees the process gone.
pub struct Server {
    place: Place,
    dir: PathBuf,
}

fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|e| e.path().join("bin")).filter(|bin| bin.join("initdb").exists()).collect())
        .unwrap_or_default();
    found.sort();
    found.pop().expect("PostgreSQL is not installed: apt-get install postgresql, or run tests/run, which does it")
}

fn as_postgres(program: &Path) -> Command {
    // initdb and the server refuse to run as root.
    if unprivileged() {
        Command::new(program)
    } else {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
        command
    }
}

fn unprivileged() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    String::from_utf8_lossy(&id.stdout).trim() != "0"
}

fn run(mut command: Command) {
    let out = command.stdin(Stdio::null()).output().expect("the program starts");
    assert!(out.status.success(), "{command:?}: {}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
}

impl Server {
    /// Makes a cluster and starts it. `name` tells it from others of this process.
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("leadshare-pg-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        if !unprivileged() {
            run({
                let mut chown = Command::new("chown");
                chown.arg("postgres:postgres").arg(&dir);
                chown
            });
        }
        let mut initdb = as_postgres(&binaries().join("initdb"));
        initdb.arg("-D").arg(dir.join("data")).args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]);
        run(initdb);
        let server = Self { place: Place::new(), dir };
        stop_at_exit(&binaries(), &server.dir.join("data"), &server.dir);
        server.start();
        server
    }

    /// Starts it, on the same port as before.
    pub fn start(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off -c max_connections=400",
            self.place.address.port(),
            self.dir.display()
        );
        self.control(&["-w", "-l", &self.dir.join("log").display().to_string(), "-o", &options, "start"]);
    }

    /// Tells it by `pg_ctl`.
    pub fn control(&self, words: &[&str]) {
        let mut control = as_postgres(&binaries().join("pg_ctl"));
        control.arg("-D").arg(self.dir.join("data")).args(words);
        let status = control.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("pg_ctl starts");
        assert!(status.success(), "pg_ctl {words:?}: see {}", self.dir.join("log").display());
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let mut create = as_postgres(&binaries().join("psql"));
        create.arg("-h").arg("127.0.0.1").arg("-p").arg(self.place.address.port().to_string()).args(["-U", "postgres", "-qc"]);
        create.arg(format!("CREATE DATABASE {name}"));
        create.current_dir(&self.dir);
        run(create);
        format!("postgres://postgres@{}/{name}", self.place.address)
    }
}

/// The server outlives the test process only until this watcher sees the process gone.
#[expect(clippy::zombie_processes, reason = "the watcher waits for this process, not the other way round")]
fn stop_at_exit(bin: &Path, data: &Path, dir: &Path) {
    let script = format!(
        "while kill -0 {pid} 2>/dev/null; do sleep 0.5; done; {stop} -D '{data}' -m immediate stop; rm -rf '{dir}'",
        pid = std::process::id(),
        stop = if unprivileged() {
            bin.join("pg_ctl").display().to_string()
        } else {
            format!("setpriv --reuid=postgres --regid=postgres --init-groups {}", bin.join("pg_ctl").display())
        },
        data = data.display(),
        dir = dir.display(),
    );
    Command::new("sh").arg("-c").arg(script).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh starts");
}

/// The address of a new, empty database on the server that all tests share.
pub fn database() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::new("shared")).database()
}
