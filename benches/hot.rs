//! What the hot functions cost, and how that compares with one SHA-256 over 1 KiB on the same machine
//! in the same run: `cargo bench --bench hot`.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up ends with the reason")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use leadshare::clock::Clock;
use leadshare::decide::{self, Inputs};
use leadshare::demo::cast::{self, Story};
use leadshare::ledger::{Body, Entry, State, Stream, Unsealed, seal};
use leadshare::mapping::{self, Mapped, Mapping};
use leadshare::model::Lead;
use leadshare::model::decision::Facts;
use leadshare::program;
use leadshare::store::dirty::{self, Raise};
use leadshare::store::{Db, connections};
use leadshare::vault::{Aad, Blind, DataKey, Identity, Key, Keyring, Markers, Owner};
use leadshare_connectors::sdk::signature::{hmac_sha256, sha256};

/// How long one operation is repeated in each round.
const ROUND: Duration = Duration::from_millis(60);
/// Rounds; each looks at every operation once, and the median counts.
const ROUNDS: usize = 7;
/// Hints in one claim, as a connection's read takes them.
const HINTS: usize = 100;
/// Ledger entries in one sealing.
const ENTRIES: usize = 1_000;

/// An operation, and how many things one call of it does.
struct Case<'a> {
    name: &'static str,
    each: usize,
    call: Box<dyn FnMut() + 'a>,
    nanos: Vec<f64>,
}

fn case<'a>(name: &'static str, each: usize, call: impl FnMut() + 'a) -> Case<'a> {
    Case { name, each, call: Box::new(call), nanos: Vec::new() }
}

impl Case<'_> {
    #[expect(clippy::disallowed_methods, reason = "a measurement needs the machine's own time")]
    fn round(&mut self) {
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed() < ROUND {
            (self.call)();
            calls += 1;
        }
        self.nanos.push(start.elapsed().as_nanos() as f64 / f64::from(calls) / self.each as f64);
    }

    fn median(&mut self) -> f64 {
        self.nanos.sort_by(f64::total_cmp);
        self.nanos[self.nanos.len() / 2]
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn mapping(name: &str) -> Mapping {
    let file = root().join(format!("mappings/{name}.toml"));
    let text = std::fs::read_to_string(&file).expect("the example's mapping");
    mapping::parse(name, &text).expect("the example's mapping is right")
}

fn key(byte: u8) -> Key {
    Key::from_bytes([byte; 32])
}

fn lead(mapped: Mapped) -> Lead {
    match mapped {
        Mapped::Lead(lead, _) => *lead,
        Mapped::Invalid(_) | Mapped::Quarantined(_) => panic!("the example's good lead is none"),
    }
}

fn main() {
    let clock = Clock::system();
    let person = cast::people(200, clock.now())
        .into_iter()
        .find(|p| p.source == "northwind" && p.recipient == "brightwater" && p.story == Story::Good)
        .expect("the cast has a good lead");
    let (source, recipient) = (mapping("northwind"), mapping("brightwater"));
    let (program, _) = program::compile(program::read_folder(&root().join("program")).0);
    // As a vendor answers: a field that is asked for and has no value is empty, not missing.
    let mut record = person.fields.clone();
    for field in source.read_fields() {
        record.entry(field).or_insert(serde_json::Value::Null);
    }
    // Somebody else's in between: the last telephone number that was read is remembered.
    let mut other = record.clone();
    other.insert("phone".to_owned(), "+49 30 901820".into());
    let mut records = [&record, &other].into_iter().cycle();
    let facts = Facts { lead: lead(source.to_lead(&record)), source: "northwind".into(), now: clock.now(), ..Facts::default() };
    let inputs = Inputs { program: &program, facts: &facts };
    let decision = decide::decide(&inputs);
    let verdict = decision.verdicts.first().filter(|v| v.passed()).expect("the good lead is shared");
    let agreement = &program.agreements[&verdict.agreement].agreement;
    let payload = decide::payload(agreement, &facts.lead, verdict, true);

    let keys = Keyring::new("k1", [("k1".to_owned(), key(1))]).expect("a ring");
    let (blind, markers) = (Blind::new(key(2)), Markers::new(key(3)));
    let own = DataKey::generate(&clock, Owner::Person("p")).expect("a key");
    let wrapped = own.wrap(&keys, &clock).expect("wrapped");
    let place = Aad::new("leads", "l", "data");
    let text = serde_json::to_vec(&facts.lead).expect("json");
    let sealed = own.seal(&clock, place, &text).expect("sealed");
    let kilobyte = vec![7u8; 1024];
    let entry = || {
        let body = Body::new()
            .id("decision", &clock.id())
            .id("lead", &clock.id())
            .code("outcome", "shared")
            .version("agreement_version", &"a".repeat(64));
        Entry::new(&clock.id(), &Stream::Agreement("northwind-brightwater".into()), clock.now(), "lead.decided", body).expect("an entry")
    };
    let unsealed: Vec<Unsealed> = (0..ENTRIES).map(|_| entry()).map(|e| Unsealed { id: e.id, stream: e.stream, text: e.text }).collect();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hot-{}.db", std::process::id()));
    let db = runtime.block_on(Db::open(&format!("sqlite:{}", file.display()))).expect("a store");
    runtime.block_on(connections::ensure(&db, "c", "p", "hubspot", 0)).expect("a connection");
    let hints: Vec<Raise> =
        (0..HINTS).map(|i| Raise { object: "contact".into(), remote_id: i.to_string(), kind: "changed", detail: None }).collect();
    let claims = || {
        runtime.block_on(async {
            let (now, lease) = (clock.now(), clock.id());
            let mut tx = db.begin().await?;
            dirty::raise(&mut tx, "c", &hints, now).await?;
            tx.commit().await?;
            let claimed = dirty::claim(&db, "c", "contact", &lease, now, now + 60_000, HINTS).await?;
            let mut tx = db.begin().await?;
            dirty::finish(&mut tx, "c", "contact", &lease, &claimed.iter().collect::<Vec<_>>(), now).await?;
            tx.commit().await
        })
    };

    let mut cases = [
        case("SHA-256 of 1 KiB", 1, || drop(black_box(sha256(&[black_box(&kilobyte)]).to_vec()))),
        case("check a webhook's signature (1 KiB)", 1, || drop(black_box(hmac_sha256(b"secret", &[black_box(&kilobyte)]).to_vec()))),
        case("map a record to a lead", 1, || drop(black_box(records.next().map(|record| source.to_lead(black_box(record)))))),
        case("decide: every gate, every candidate", 1, || drop(black_box(decide::decide(black_box(&inputs))))),
        case("judge again before sending", 1, || {
            drop(black_box(decide::recheck(black_box(&inputs), &verdict.agreement, &verdict.terms)));
        }),
        case("map a lead to the recipient's fields", 1, || drop(black_box(recipient.to_record(black_box(&payload), true)))),
        case("blind hash of an address", 1, || drop(black_box(blind.hash(Identity::Email, black_box(&person.email))))),
        case("marker", 1, || drop(black_box(markers.make("brightwater", black_box(&person.email))))),
        case("new data key, wrapped", 1, || {
            drop(black_box(DataKey::generate(&clock, Owner::Person("p")).and_then(|key| key.wrap(&keys, &clock))));
        }),
        case("open a data key", 1, || drop(black_box(DataKey::unwrap(&keys, Owner::Person("p"), black_box(&wrapped))))),
        case("seal a lead", 1, || drop(black_box(own.seal(&clock, place, black_box(&text))))),
        case("open a lead", 1, || drop(black_box(own.open(place, black_box(&sealed))))),
        case("ledger: write an entry's text", 1, || drop(black_box(entry()))),
        case("ledger: seal an entry", ENTRIES, || drop(black_box(seal(&unsealed, State::default())))),
        case("raise, claim and finish a hint (100 at once, SQLite)", HINTS, || claims().expect("the store works")),
    ];
    for _ in 0..ROUNDS {
        for case in &mut cases {
            case.round();
        }
    }
    let unit = cases[0].median();
    println!("{:55} {:>12} {:>14}", "operation", "ns", "SHA-256 of 1 KiB");
    for case in &mut cases {
        let nanos = case.median();
        println!("{:55} {:>12.0} {:>14.2}", case.name, nanos, nanos / unit);
    }
    drop(cases);
    runtime.block_on(db.close());
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", file.display()));
    }
}
