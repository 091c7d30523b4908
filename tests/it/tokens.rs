//! Tokens: refreshed once over all replicas, kept through a crash, and given up only when the vendor says so.

use std::sync::{Arc, Mutex};

use leadshare::args;
use leadshare::clock::{Clock, MINUTE, SECOND};
use leadshare::config::Config;
use leadshare::context::Context;
use leadshare::daemon;
use leadshare::errors::{Error, Result};
use leadshare::http::Transport;
use leadshare::http::egress::Egress;
use leadshare::store::tokens::{self, End, Saved, Stored};
use leadshare::store::{Db, connections};
use leadshare::vault::Aad;
use leadshare_connectors::sdk::{Method, Request};

use super::support::world::{Engine, Folder, PLAIN, World};

/// A replica on a world's database, with a disk of its own.
pub async fn replica(world: &World, name: &str, clock: &Clock, change: impl FnOnce(&mut Config)) -> Arc<Context> {
    let mut config = world.config.clone();
    config.store.data_dir = world.dir.join(name);
    std::fs::create_dir_all(&config.store.data_dir).unwrap();
    change(&mut config);
    daemon::build(&config, clock).await.unwrap().ctx
}

/// The header for a connection, after the vendor has refused this version of its token.
pub async fn authorization(ctx: &Context, name: &str, refused: Option<i64>) -> Result<(String, i64)> {
    ctx.lines[name].authorization(&ctx.transport, &ctx.clock, refused).await
}

pub async fn stored(db: &Db, name: &str) -> Stored {
    tokens::one(db, name).await.unwrap().unwrap()
}

/// The refresh token in use, opened.
pub async fn refresh_token(world: &World, name: &str) -> String {
    let stored = stored(&world.ctx.db, name).await;
    let aad = Aad::new("tokens", name, "refresh").version(stored.version as u64);
    String::from_utf8(world.ctx.vault.keys.open(aad, &stored.refresh.unwrap()).unwrap().to_vec()).unwrap()
}

/// What a replica leaves that asked for a token and died before the answer came: an open intent, and a vendor that has rotated.
async fn die_before_the_answer(world: &World, name: &str) {
    let now = world.clock.now();
    assert!(tokens::claim(&world.ctx.db, name, &stored(&world.ctx.db, name).await, "the dead", now, now + MINUTE).await.unwrap());
    let app = world.ctx.lines[name].app().unwrap();
    let secret = secrecy::ExposeSecret::expose_secret(&app.client_secret);
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &refresh_token(world, name).await),
        ("client_id", &app.client_id),
        ("client_secret", secret),
    ];
    let mut request = Request::new(Method::Post, app.token_url.clone()).header("content-type", "application/x-www-form-urlencoded");
    request.body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into_bytes();
    let egress = Egress::allowing("127.0.0.0/8".parse().into_iter().collect());
    let answer = Transport::default().send(&egress, &app.token_url.parse().unwrap(), &request, None, 10_000).await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

pub fn passing(result: Result<(String, i64)>) -> String {
    match result {
        Err(Error::Passing { code, .. }) => code,
        other => panic!("not passing trouble: {other:?}"),
    }
}

// Breaks when two workers, or two replicas, refresh one connection's token at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_workers_on_three_replicas_ask_once() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let mut replicas = Vec::new();
        for name in ["one", "two", "three"] {
            replicas.push(replica(&world, name, &Clock::system(), |_| ()).await);
        }
        for name in PLAIN {
            let (asked, before) = (world.stats(name).token_requests, stored(&world.ctx.db, name).await.version);
            let workers = (0..48).map(|i| {
                let ctx = replicas[i % 3].clone();
                tokio::spawn(async move { authorization(&ctx, name, Some(before)).await })
            });
            let mut got: Vec<(String, i64)> = Vec::new();
            for worker in workers.collect::<Vec<_>>() {
                got.push(worker.await.unwrap().unwrap());
            }
            assert_eq!(world.stats(name).token_requests, asked + 1, "{engine:?}, {name}");
            assert_eq!(got[0].1, before + 1);
            assert!(got.iter().all(|one| *one == got[0]), "everybody uses the same token");
        }
    }
}

// Breaks when a token is used, or lost, that is in no database yet: it lies in the spool.
#[tokio::test]
async fn a_token_that_arrived_survives_a_crash() {
    const REFUSE: [&str; 2] = [
        "CREATE TRIGGER gone BEFORE UPDATE OF access ON tokens BEGIN SELECT RAISE(ABORT, 'the database is gone'); END",
        "CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the database is gone'; END $$",
    ];
    const POSTGRES: &str = "CREATE TRIGGER gone BEFORE UPDATE OF access ON tokens FOR EACH ROW EXECUTE FUNCTION gone()";
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (db, name) = (&world.ctx.db, "brightwater");
        let (asked, before) = (world.stats(name).token_requests, stored(db, name).await.version);
        match engine {
            Engine::Sqlite => drop(db.exec(REFUSE[0], args![]).await.unwrap()),
            Engine::Postgres => {
                db.exec(REFUSE[1], args![]).await.unwrap();
                db.exec(POSTGRES, args![]).await.unwrap();
            }
        }
        let crashed = replica(&world, "one", &world.clock, |_| ()).await;
        assert!(matches!(authorization(&crashed, name, Some(before)).await, Err(Error::Store(_))), "no token is used that is not saved");
        assert_eq!(world.stats(name).token_requests, asked + 1);
        drop(crashed);

        // Another replica, on another disk, neither has the token nor asks for one while the intent is open.
        let other = replica(&world, "two", &Clock::test(world.clock.now()), |_| ()).await;
        assert_eq!(passing(authorization(&other, name, Some(before)).await), "refresh_under_way");
        db.exec(if engine == Engine::Sqlite { "DROP TRIGGER gone" } else { "DROP TRIGGER gone ON tokens" }, args![]).await.unwrap();

        let again = replica(&world, "one", &world.clock, |_| ()).await;
        let now = stored(db, name).await;
        assert_eq!((now.version, now.intent_at, now.owner), (before + 1, None, None), "taken over at the start");
        let (bearer, version) = authorization(&again, name, Some(before)).await.unwrap();
        assert_eq!(authorization(&other, name, Some(before)).await.unwrap(), (bearer, version));
        assert_eq!(world.stats(name).token_requests, asked + 1, "{engine:?}");
        // The refresh token that was spooled is the one that the vendor takes now.
        assert_eq!(authorization(&again, name, Some(version)).await.unwrap().1, version + 1);
        assert_eq!(world.stats(name).token_requests, asked + 2);
        assert_eq!(world.alerts().await, []);
    }
}

// Breaks when a crash at any step of a refresh loses an account that can be kept. One before the vendor was asked costs a wait; one
// between its answer and the spool costs a click, and nobody can help that.
#[tokio::test]
async fn a_crash_at_any_step_loses_what_it_must_and_no_more() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    let (db, name) = (&world.ctx.db, "brightwater");
    for (point, requests, lost) in
        [("token.intended", 1, false), ("token.spooled", 1, false), ("token.saved", 1, false), ("token.answered", 2, true)]
    {
        let (asked, before) = (world.stats(name).token_requests, stored(db, name).await.version);
        let crashed = replica(&world, "one", &world.clock, |_| ()).await;
        let ended = leadshare::points::until(move |at| at == point, authorization(&crashed, name, Some(before))).await;
        assert!(ended.is_none(), "{point} was never reached");
        drop(crashed);

        let again = replica(&world, "one", &world.clock, |_| ()).await;
        let found = loop {
            match authorization(&again, name, Some(before)).await {
                Err(Error::Passing { code, .. }) => assert_eq!(code, "refresh_under_way", "{point}"),
                found => break found,
            }
        };
        assert_eq!(world.stats(name).token_requests, asked + requests, "{point}");
        if lost {
            assert!(matches!(found, Err(Error::NeedsPerson { .. })), "{point}: {found:?}");
            assert_eq!(world.state(name).await, "reconnect_needed");
        } else {
            assert_eq!(found.unwrap().1, before + 1, "{point}");
            assert_eq!((world.state(name).await.as_str(), stored(db, name).await.intent_at), ("connected", None), "{point}");
        }
    }
}

// Breaks when an outage of the database makes the process that has the new token ask for another.
#[tokio::test]
async fn a_token_that_could_not_be_saved_is_saved_later() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    let (db, name) = (&world.ctx.db, "brightwater");
    let (asked, before) = (world.stats(name).token_requests, stored(db, name).await.version);
    db.exec("CREATE TRIGGER gone BEFORE UPDATE OF access ON tokens BEGIN SELECT RAISE(ABORT, 'gone'); END", args![]).await.unwrap();
    // The disk is full, too: the spool's folder cannot be made.
    std::fs::write(world.dir.join("spool-is-a-file"), "").unwrap();
    let ctx =
        replica(&world, "spool-is-a-file-too", &world.clock, |config| config.store.data_dir = world.dir.join("spool-is-a-file")).await;
    assert!(authorization(&ctx, name, Some(before)).await.is_err());
    db.exec("DROP TRIGGER gone", args![]).await.unwrap();
    assert_eq!(authorization(&ctx, name, Some(before)).await.unwrap().1, before + 1);
    assert_eq!(world.stats(name).token_requests, asked + 1);
}

// Breaks when a replica that died while refreshing blocks the others for ever, or not at all.
#[tokio::test]
async fn a_dead_replicas_intent_is_waited_out() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        // HubSpot does not rotate: whoever asks again gets a token.
        let (db, name) = (&world.ctx.db, "northwind");
        die_before_the_answer(&world, name).await;
        let (asked, before) = (world.stats(name).token_requests, stored(db, name).await.version);
        let begun = world.clock.now();
        while let Err(error) = authorization(&world.ctx, name, Some(before)).await {
            assert_eq!(passing(Err(error)), "refresh_under_way");
            assert_eq!(world.stats(name).token_requests, asked);
        }
        let waited = world.clock.now() - begun;
        assert!((MINUTE..MINUTE + 20 * SECOND).contains(&waited), "{waited} ms");
        assert_eq!(world.stats(name).token_requests, asked + 1);
        assert_eq!((world.state(name).await.as_str(), stored(db, name).await.intent_at), ("connected", None));
    }
}

// Breaks when a process that was stopped between its intent and its request sends the request when it wakes: by then another may
// have refreshed.
#[tokio::test]
async fn whoever_wakes_late_starts_over() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    let (name, before) = ("brightwater", stored(&world.ctx.db, "brightwater").await.version);
    let asked = world.stats(name).token_requests;
    let (clock, seen) = (world.clock.clone(), Arc::new(Mutex::new(Vec::new())));
    let noted = seen.clone();
    let stopped = move |at: &'static str| {
        let mut noted = noted.lock().unwrap();
        if at == "token.intended" && noted.is_empty() {
            clock.advance(10 * MINUTE);
        }
        noted.push(at);
        false
    };
    let got = leadshare::points::until(stopped, authorization(&world.ctx, name, Some(before))).await.unwrap();
    assert_eq!(got.unwrap().1, before + 1);
    assert_eq!(*seen.lock().unwrap(), ["token.intended", "token.intended", "token.answered", "token.spooled", "token.saved"]);
    assert_eq!(world.stats(name).token_requests, asked + 1);
}

// Breaks when a rotated token that nobody has any more loses leads, is asked for again and again, ends the good token that is still
// there, or is not told.
#[tokio::test]
async fn a_lost_answer_costs_a_click_and_no_lead() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (db, name) = (&world.ctx.db, "brightwater");
        die_before_the_answer(&world, name).await;
        let asked = world.stats(name).token_requests;
        let token = stored(db, name).await;

        // The access token is used to its very end, and nothing is asked.
        let (first, _) = world.enter_good("northwind", name);
        world.settle().await;
        assert_eq!(world.with_email(name, &first.email).len(), 1);
        let last = token.expires_at.unwrap() - SECOND;
        assert!(token.refresh_at.unwrap() < last);
        world.clock.advance(last - world.clock.now());
        assert_eq!(authorization(&world.ctx, name, None).await.unwrap().1, token.version);
        assert_eq!((world.stats(name).token_requests, world.state(name).await.as_str()), (asked, "connected"));

        // Then the old refresh token is tried, once.
        world.clock.advance(2 * SECOND);
        let more = world.people("northwind", name, leadshare::demo::cast::Story::Good, 3);
        world.enter(&more[1..]);
        world.pass(20 * MINUTE).await;
        assert_eq!(world.stats(name).token_requests, asked + 1, "{engine:?}");
        let connection = connections::one(db, name).await.unwrap().unwrap();
        assert_eq!((connection.state.as_str(), connection.state_reason.as_deref()), ("reconnect_needed", Some("refresh_lost")));
        assert_eq!(world.alerts().await, [(name.to_owned(), "connection.reconnect_needed".to_owned())]);
        assert!(authorization(&world.ctx, name, None).await.is_err());
        assert_eq!(world.stats(name).token_requests, asked + 1, "not even when asked for by hand");
        assert!(more[1..].iter().all(|person| world.with_email(name, &person.email).is_empty()));

        // One click later everything goes on where it stopped.
        world.connect(name).await;
        world.settle().await;
        for person in &more {
            assert_eq!(world.with_email(name, &person.email).len(), 1, "{engine:?}");
            assert_eq!(world.share(&person.email).await.status, "delivered");
        }
        assert_eq!(world.alerts().await, []);
    }
}

fn saved(access: &str, refresh: Option<&str>, version: i64) -> Saved {
    Saved { access: access.into(), refresh: refresh.map(str::to_owned), expires_at: Some(200), refresh_at: Some(150), version }
}

// Breaks when two can have a refresh, one without it can end it, older tokens replace newer, or a save that was rolled back stays.
#[tokio::test]
async fn the_store_gives_a_refresh_to_one() {
    for engine in Engine::BOTH {
        let folder = Folder::new();
        let db = Db::open(&engine.url(&folder.0)).await.unwrap();
        let save = async |tokens: Saved, keep: bool| {
            let mut tx = db.begin().await.unwrap();
            let done = tokens::save(&mut tx, "c", tokens).await.unwrap();
            if keep {
                tx.commit().await.unwrap();
            }
            done
        };
        let end = async |owner: &str, end: End| {
            let mut tx = db.begin().await.unwrap();
            let done = tokens::end(&mut tx, "c", owner, end).await.unwrap();
            tx.commit().await.unwrap();
            done
        };
        assert!(save(saved("a1", Some("r1"), 1), true).await);
        let read = stored(&db, "c").await;
        let (a, b) = tokio::join!(tokens::claim(&db, "c", &read, "a", 10, 70), tokens::claim(&db, "c", &read, "b", 10, 70));
        assert_eq!(usize::from(a.unwrap()) + usize::from(b.unwrap()), 1);
        let taken = stored(&db, "c").await;
        let owner = taken.owner.clone().unwrap();
        assert_eq!((taken.intent_at, taken.until), (Some(10), Some(70)));
        assert!(!end("somebody else", End::default()).await);
        assert!(end(&owner, End { intent_at: Some(10), cooldown_until: Some(90), failures: 1 }).await);
        assert!(!tokens::claim(&db, "c", &read, "late", 20, 80).await.unwrap(), "it has failed since this was read");
        let failed = stored(&db, "c").await;
        assert_eq!(
            (failed.intent_at, failed.owner.as_deref(), failed.until, failed.cooldown_until, failed.failures),
            (Some(10), None, None, Some(90), 1)
        );
        // An intent in doubt keeps the time when the doubt began.
        assert!(tokens::claim(&db, "c", &failed, "next", 95, 155).await.unwrap());
        assert_eq!(stored(&db, "c").await.intent_at, Some(10));
        save(saved("rolled back", None, 9), false).await;
        assert!(save(saved("a2", None, 2), true).await);
        assert!(!save(saved("older", Some("older"), 2), true).await);
        assert!(!end("next", End::default()).await, "whoever saves ends what was open");
        let now = stored(&db, "c").await;
        assert_eq!(
            (now.access.as_str(), now.refresh, now.version, now.intent_at, now.cooldown_until, now.failures),
            ("a2", None, 2, None, None, 0)
        );
    }
}
