//! Tells the service manager how the daemon is. Without one, every call does nothing.

use sd_notify::NotifyState;

use crate::clock::Millis;

/// The daemon serves; `status` is shown by `systemctl status`.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload has begun; [`ready`] ends it.
pub fn reloading() {
    // Newer versions of systemd refuse the one without the other.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration and the program again")]);
    }
}

/// The daemon is on its way down.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what has been begun")]);
}

/// What `systemctl status` shows.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// How often the service manager wants to hear [`alive`]: half of the time after which it would
/// restart the daemon. `None` when it does not watch.
pub fn watchdog() -> Option<Millis> {
    sd_notify::watchdog_enabled().map(|limit| (limit.as_millis() as Millis / 2).max(1))
}

/// The daemon still does its work. To be called from the loop whose standstill would be the failure.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        tracing::warn!(error = %e, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    const CHILD: &str = "LEADSHARE_TEST_NOTIFIES";

    // Breaks when systemd would wait for READY for ever, refuse a reload, or restart a healthy daemon.
    // The service manager's address comes by environment, so the calls are made in a process of their own.
    #[test]
    fn the_service_manager_hears_how_we_are() {
        if std::env::var_os(CHILD).is_some() {
            assert_eq!(watchdog(), Some(15_000));
            ready("3 connections");
            alive();
            reloading();
            stopping();
            return;
        }
        let folder = std::env::temp_dir().join(format!("leadshare-notify-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("socket");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "service::tests::the_service_manager_hears_how_we_are"])
            .env(CHILD, "1")
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "30000000")
            .env_remove("WATCHDOG_PID")
            .output()
            .expect("runs");
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        let heard = || {
            let mut bytes = [0; 512];
            let length = socket.recv(&mut bytes).expect("a message");
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        assert_eq!(heard(), "READY=1\nSTATUS=3 connections\n");
        assert_eq!(heard(), "WATCHDOG=1\n");
        let reload = heard();
        assert!(reload.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reload}");
        assert!(heard().starts_with("STOPPING=1\n"));
        drop(std::fs::remove_dir_all(&folder));
    }
}
