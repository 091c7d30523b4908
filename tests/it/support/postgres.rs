//! A PostgreSQL server for the tests: started once from the installed binaries, as an unprivileged user.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

struct Server {
    port: u16,
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

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let bin = binaries();
        let dir = std::env::temp_dir().join(format!("leadshare-pg-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        if !unprivileged() {
            run({
                let mut chown = Command::new("chown");
                chown.arg("postgres:postgres").arg(&dir);
                chown
            });
        }
        let data = dir.join("data");
        let mut initdb = as_postgres(&bin.join("initdb"));
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]);
        run(initdb);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut start = as_postgres(&bin.join("pg_ctl"));
        start.arg("-D").arg(&data).args(["-w", "-l"]).arg(dir.join("log")).arg("-o");
        start
            .arg(format!(
                "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off -c max_connections=400",
                dir.display()
            ))
            .arg("start");
        let status = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("pg_ctl starts");
        assert!(status.success(), "the PostgreSQL server did not start: see {}", dir.join("log").display());
        stop_at_exit(&bin, &data, &dir);
        Server { port, dir }
    })
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

/// The address of a new, empty database.
pub fn database() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = server();
    let name = format!("t{}", COUNT.fetch_add(1, Ordering::SeqCst));
    let mut create = as_postgres(&binaries().join("psql"));
    create
        .arg("-h")
        .arg("127.0.0.1")
        .arg("-p")
        .arg(server.port.to_string())
        .args(["-U", "postgres", "-qc"])
        .arg(format!("CREATE DATABASE {name}"));
    create.current_dir(&server.dir);
    run(create);
    format!("postgres://postgres@127.0.0.1:{}/{name}", server.port)
}
