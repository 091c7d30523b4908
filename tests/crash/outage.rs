//! No disk, and no database, for a while: what was acknowledged is kept, the rest is refused, and work goes on by itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use leadshare::clock::{Millis, SECOND};

use crate::house::{Daemon, Engine, Entered, House};
use crate::postgres;

/// How long it may take until trouble shows: the disk is looked at every five seconds.
const SHOWS: Millis = 30 * SECOND;
/// How long work may take to go on: a vendor sends a refused webhook again after half a minute or a whole one.
const MEND: Millis = 150 * SECOND;

/// Waits until webhooks are answered by this status.
async fn refused(house: &House, daemon: &mut Daemon, status: u16) {
    let before = house.carrier.answers().get(&status).copied().unwrap_or_default();
    house
        .until("webhooks are refused", SHOWS, async || {
            let answers = house.carrier.answers();
            if answers.get(&status).is_some_and(|n| *n > before) { Ok(()) } else { Err(format!("{answers:?}")) }
        })
        .await;
    assert!(daemon.runs(), "the daemon ended: {}", house.tail());
}

/// Asserts that none of these people is at the recipient.
fn nobody_arrived(house: &House, people: &[Entered]) {
    let there = house.records("brightwater");
    for entered in people {
        let known = there.iter().any(|r| crate::house::text(r, "Email").eq_ignore_ascii_case(&entered.person.email));
        assert!(!known, "{} was sent although nothing could be kept", entered.person.email);
    }
}

/// A disk of its own, as small as that.
struct Disk(PathBuf);

impl Disk {
    /// `None` where one may not be mounted: that takes root.
    fn mount(dir: &Path, megabytes: u32) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(dir);
        mount.output().is_ok_and(|out| out.status.success()).then(|| Self(dir.to_owned()))
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        for block in [vec![1u8; 1 << 20], vec![1u8; 4096]] {
            while file.write_all(&block).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

// Breaks when a full disk ends the daemon, loses what was acknowledged, or lets leads out of which nothing is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_work_and_loses_nothing() {
    let dir = std::env::temp_dir().join(format!("leadshare-disk-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let Some(disk) = Disk::mount(&dir, 80) else {
        println!("a disk cannot be mounted here (that takes root): shown by the limit alone");
        return a_disk_below_the_limit_is_as_good_as_full().await;
    };
    let store = dir.join("leadshare.db");
    let small = |text: String| {
        let text = text.replace("data_dir = \".\"", &format!("data_dir = \"{}\"", dir.display()));
        format!("{text}\n[limits]\nfree_disk_mb = 50\n")
    };
    let url = Some(format!("sqlite:{}", store.display()));
    let mut house = House::on(Engine::Sqlite, url, &["northwind", "brightwater"], &small, &|_, text| text.to_owned()).await;
    let mut daemon = house.start(None).await;
    house.connect().await;
    let mut people = house.enter("northwind", "brightwater", 3);
    house.at_rest(&people, MEND).await;
    people.extend(house.enter("northwind", "brightwater", 3));
    disk.fill();
    let late = house.enter("northwind", "brightwater", 3);
    refused(&house, &mut daemon, 503).await;
    nobody_arrived(&house, &late);
    disk.free();
    people.extend(late);
    house.at_rest(&people, MEND).await;
    assert!(daemon.runs());
    println!("full disk: {:?} webhooks by answer; all arrived once after space was made", house.carrier.answers());
}

/// The same without a disk of its own: the limit set above what is free.
async fn a_disk_below_the_limit_is_as_good_as_full() {
    let greedy = |text: String| format!("{text}\n[limits]\nfree_disk_mb = 4000000000\n");
    let mut house = House::new(Engine::Sqlite, &["northwind", "brightwater"], &greedy).await;
    let mut daemon = house.start(None).await;
    house.connect().await;
    let people = house.enter("northwind", "brightwater", 3);
    refused(&house, &mut daemon, 503).await;
    nobody_arrived(&house, &people);
    daemon.kill().await;
    house.change(&|text| text.replace("free_disk_mb = 4000000000", "free_disk_mb = 50"));
    let _daemon = house.start(None).await;
    house.at_rest(&people, MEND).await;
}

// Breaks when a database that goes away ends the daemon or loses what was acknowledged, or work does not go on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_and_comes_back_loses_nothing() {
    let server = postgres::Server::new("gone");
    let mut house =
        House::on(Engine::Postgres, Some(server.database()), &["northwind", "brightwater"], &|text| text, &|_, text| text.to_owned()).await;
    let mut daemon = house.start(None).await;
    house.connect().await;
    let mut people = house.enter("northwind", "brightwater", 4);
    // Gone in the middle of the work, as by a power cut.
    server.control(&["-m", "immediate", "stop"]);
    let late = house.enter("northwind", "brightwater", 4);
    refused(&house, &mut daemon, 503).await;
    assert_eq!(house.get(house.stage().web, "/readyz").await, Some(503));
    assert_eq!(house.get(house.stage().web, "/healthz").await, Some(200));
    nobody_arrived(&house, &late);
    server.start();
    people.extend(late);
    house.at_rest(&people, MEND).await;
    assert!(daemon.runs());
    println!("database gone: {:?} webhooks by answer; all arrived once after it came back", house.carrier.answers());
}
