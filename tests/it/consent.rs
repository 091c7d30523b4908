//! Consent: without it nothing leaves, and when it is withdrawn what left is taken back.

use leadshare::clock::{HOUR, MINUTE};
use leadshare::demo::cast::{Person, Story};
use leadshare::demo::count;
use leadshare::entries::Entries;
use leadshare::intake::noes;
use leadshare::model::Lead;
use leadshare::people::{Keys, lead_place};
use leadshare::pipeline;
use leadshare::store::dirty::Dirty;
use leadshare::store::shares::{self, Share};
use leadshare::store::{Db, leads, people};
use leadshare::vault::Identity;
use leadshare_connectors::sdk::{Fault, Fields, Method, Record, SandboxRequest, State};
use serde_json::{Value, json};

use super::support::world::{Engine, PLAIN, World, text};

/// How somebody withdraws.
#[derive(Debug, Clone, Copy)]
enum Withdrawal {
    /// The choice on the form is cleared.
    ChoiceCleared,
    /// The link under a mail.
    OptedOut,
    /// The operator was told.
    Suppressed,
}

const EVERY: [Withdrawal; 3] = [Withdrawal::ChoiceCleared, Withdrawal::OptedOut, Withdrawal::Suppressed];

/// Somebody who said yes to e-mail and to nothing else, entered at Northwind.
fn enter_by_mail_only(world: &World) -> (Person, String) {
    let good = world.people("northwind", "brightwater", Story::Good, 12);
    let person = good.into_iter().find(|p| !p.fields.contains_key("ls_consented_phone")).unwrap();
    let id = world.enter(std::slice::from_ref(&person)).remove(0);
    (person, id)
}

/// The same under another address; the person as Northwind has it, and its record's id.
fn enter_known_as(world: &World, email: &str) -> (Person, String) {
    let good = world.people("northwind", "brightwater", Story::Good, 12);
    let mut person = good.into_iter().find(|p| !p.fields.contains_key("ls_consented_phone")).unwrap();
    for field in ["email", "ls_consented_email"] {
        person.fields.insert(field.into(), email.into());
    }
    email.clone_into(&mut person.email);
    let id = world.enter(std::slice::from_ref(&person)).remove(0);
    (person, id)
}

async fn withdraw(world: &World, how: Withdrawal, person: &Person, id: &str) {
    match how {
        Withdrawal::ChoiceCleared => world.update("northwind", id, &json!({ "ls_partner_choice": null })),
        Withdrawal::OptedOut => {
            let mut sandbox = world.stage.of("northwind").unwrap().1.sandbox();
            let token = sandbox.token(world.clock.now());
            let request = SandboxRequest {
                method: Method::Post,
                path: format!("/communication-preferences/2026-09/statuses/{}/unsubscribe-all?channel=EMAIL", person.email),
                headers: vec![("authorization".into(), format!("Bearer {token}"))],
                body: Vec::new(),
            };
            sandbox.handle(&request, world.clock.now());
        }
        Withdrawal::Suppressed => {
            let hash = world.ctx.vault.blind.hash(Identity::Email, &person.email);
            let mut tx = world.ctx.db.begin().await.unwrap();
            people::suppress(&mut tx, &json!([[hash, "person", "asked_to_stop", "[]"]]), world.clock.now()).await.unwrap();
            tx.commit().await.unwrap();
        }
    }
}

// Breaks when the gates are not asked again before sending: what was decided while the yes stood would
// leave after it was withdrawn.
#[tokio::test]
async fn a_withdrawal_before_delivery_lets_nothing_leave() {
    for engine in Engine::BOTH {
        for how in EVERY {
            let world = World::new(engine, PLAIN).await;
            world.inject("brightwater", Fault::DailyQuota { until: world.clock.now() + HOUR });
            let (person, id) = enter_by_mail_only(&world);
            world.work().await;
            assert_eq!(world.share(&person.email).await.status, "matched", "{how:?}: it waits for the quota");
            withdraw(&world, how, &person, &id).await;
            world.pass(2 * MINUTE).await;
            world.settle().await;
            assert!(world.with_email("brightwater", &person.email).is_empty(), "{how:?}, {engine:?}: it left");
            let (status, _, reason) = world.stand(&person.email).await;
            assert!(status == "recalled" && reason.is_some(), "{how:?}: {status} {reason:?}");
            assert_eq!(text(&world.record("northwind", &id), "ls_share_status"), "Taken back", "{how:?}: the sharer is told");
        }
    }
}

// Breaks when the gates before sending are skipped for a share that was decided a moment ago: nothing
// but the list of suppressions says no here, and no change of the record raises it again.
#[tokio::test]
async fn a_suppression_between_deciding_and_sending_holds() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        world.inject("brightwater", Fault::DailyQuota { until: world.clock.now() + HOUR });
        let (person, id) = enter_by_mail_only(&world);
        world.work().await;
        withdraw(&world, Withdrawal::Suppressed, &person, &id).await;
        world.settle().await;
        let (status, _, reason) = world.stand(&person.email).await;
        assert_eq!((status.as_str(), reason.as_deref()), ("recalled", Some("suppressed.person")));
        assert!(world.with_email("brightwater", &person.email).is_empty());
    }
}

// Breaks when what a decision made ready is sent though somebody said no in the seconds between.
#[tokio::test]
async fn what_comes_in_the_seconds_between_deciding_and_sending_is_heard() {
    for engine in Engine::BOTH {
        for how in [Withdrawal::Suppressed, Withdrawal::ChoiceCleared] {
            let world = World::new(engine, PLAIN).await;
            let (person, id) = enter_by_mail_only(&world);
            let turn = async || pipeline::turn(&world.ctx, world.ctx.lines.get("northwind").unwrap()).await.unwrap();
            while world.shares(&person.email).await.is_empty() {
                world.stage.of("northwind").unwrap().1.pump().await;
                assert!(turn().await, "{how:?}, {engine:?}: nothing was decided");
            }
            withdraw(&world, how, &person, &id).await;
            if matches!(how, Withdrawal::ChoiceCleared) {
                while world.share(&person.email).await.status != "recalled" {
                    world.stage.of("northwind").unwrap().1.pump().await;
                    assert!(turn().await, "{how:?}, {engine:?}: the no was not read");
                }
            }
            world.work().await;
            assert!(world.with_email("brightwater", &person.email).is_empty(), "{how:?}, {engine:?}: it left");
        }
    }
}

// Breaks when a withdrawal after delivery changes nothing, or the sharer does not learn of it.
#[tokio::test]
async fn a_withdrawal_after_delivery_takes_the_share_back() {
    for engine in Engine::BOTH {
        for how in [Withdrawal::ChoiceCleared, Withdrawal::OptedOut] {
            let world = World::new(engine, PLAIN).await;
            let (person, id) = enter_by_mail_only(&world);
            world.settle().await;
            assert_eq!(world.share(&person.email).await.status, "delivered");
            let there = world.with_email("brightwater", &person.email).remove(0);
            withdraw(&world, how, &person, &id).await;
            world.pass(2 * MINUTE).await;
            world.settle().await;
            let (status, _, reason) = world.stand(&person.email).await;
            assert!(status == "recalled" && reason.is_some(), "{how:?}: {status} {reason:?}");
            assert_eq!(text(&world.record("northwind", &id), "ls_share_status"), "Taken back", "{how:?}");
            // Nobody there had worked with it: the ways to reach the person are taken back too.
            let after = world.record("brightwater", &there.id);
            assert_eq!((text(&after, "Email"), text(&after, "Phone")), (String::new(), String::new()), "{how:?}");
            world.update("northwind", &id, &json!({ "jobtitle": "Director" }));
            world.settle().await;
            assert_eq!(world.record("brightwater", &there.id).fields.get("Title"), after.fields.get("Title"), "{how:?}: an update left");
        }
    }
}

// Breaks when a record that the mapping refuses, or does not understand, is not looked at for a no.
#[tokio::test]
async fn a_withdrawal_in_a_record_that_is_no_lead_any_more_takes_the_share_back() {
    for engine in Engine::BOTH {
        let cases = [("invalid", true, json!({ "email": null })), ("quarantined", false, json!({ "industry": "SPACE_TRAVEL" }))];
        for (outcome, delivered, mut change) in cases {
            let world = World::new(engine, PLAIN).await;
            if !delivered {
                world.inject("brightwater", Fault::DailyQuota { until: world.clock.now() + HOUR });
            }
            let (person, id) = enter_by_mail_only(&world);
            world.work().await;
            // Alone it says no to nothing, and what was shared stays.
            world.update("northwind", &id, &change);
            world.pass(MINUTE).await;
            let status = world.share(&person.email).await.status;
            assert_eq!(status, if delivered { "delivered" } else { "matched" }, "{outcome}, {engine:?}");
            assert!(world.outcomes().await.contains_key(outcome), "{outcome}, {engine:?}");
            change["ls_partner_choice"] = Value::Null;
            world.update("northwind", &id, &change);
            world.pass(MINUTE).await;
            world.settle().await;
            let (status, _, reason) = world.stand(&person.email).await;
            assert_eq!((status.as_str(), reason.as_deref()), ("recalled", Some("consent.not_chosen")), "{outcome}, {engine:?}");
            assert!(world.with_email("brightwater", &person.email).is_empty(), "{outcome}, {engine:?}: still reachable there");
            assert_eq!(text(&world.record("northwind", &id), "ls_share_status"), "Taken back", "{outcome}, {engine:?}");
            // Mended and agreed to again, it is decided again.
            let fields = json!({ "email": person.email, "industry": person.fields["industry"], "ls_partner_choice": "Brightwater" });
            world.update("northwind", &id, &fields);
            world.pass(MINUTE).await;
            world.settle().await;
            assert_eq!(world.shares(&person.email).await.len(), 2, "{outcome}, {engine:?}");
        }
    }
}

// Breaks when a person who has a record deleted at the source is still reachable where it was shared.
#[tokio::test]
async fn a_deletion_for_privacy_takes_the_share_back() {
    for engine in Engine::BOTH {
        for forgotten in [true, false] {
            let world = World::new(engine, PLAIN).await;
            let (person, id) = enter_by_mail_only(&world);
            world.settle().await;
            if forgotten {
                world.forget("northwind", &id);
            } else {
                world.delete("northwind", &id);
            }
            world.pass(2 * MINUTE).await;
            world.settle().await;
            let (status, _, reason) = world.stand(&person.email).await;
            let wanted = if forgotten { ("recalled", Some("privacy_deleted_at_source")) } else { ("delivered", None) };
            assert_eq!((status.as_str(), reason.as_deref()), wanted, "{engine:?}");
            assert_eq!(world.with_email("brightwater", &person.email).is_empty(), forgotten, "{engine:?}");
        }
    }
}

// Breaks when, after a merge at the source, news go to the record that is no more, or a no in the one that is left is not heeded.
#[tokio::test]
async fn a_merge_at_the_source_loses_neither_news_nor_a_withdrawal() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (person, id) = enter_by_mail_only(&world);
        world.settle().await;
        let other = world.create("northwind", &json!({ "email": "second@kovacs-verhuur.example", "lastname": "Second" }));
        world.settle().await;
        let left = world.merge("northwind", &other, &id);
        world.pass(MINUTE).await;
        world.settle().await;
        let there = world.with_email("brightwater", &person.email).remove(0);
        world.update("brightwater", &there.id, &json!({ "Status": "Working - Contacted" }));
        world.settle().await;
        let told = world.record("northwind", &left);
        assert_eq!(text(&told, "ls_share_status"), "Seen", "{engine:?}: {:?}", world.attempts(&person.email).await);
        world.update("northwind", &left, &json!({ "ls_partner_choice": null }));
        world.pass(MINUTE).await;
        world.settle().await;
        let (status, _, reason) = world.stand(&person.email).await;
        assert_eq!((status.as_str(), reason.as_deref()), ("recalled", Some("consent.not_chosen")), "{engine:?}");
        assert_eq!(text(&world.record("northwind", &left), "ls_share_status"), "Taken back", "{engine:?}");
    }
}

// Breaks when a record that a partner was given is only followed: what people stop there would go on where the partner shared
// them, and whoever gave them would never hear of it.
#[tokio::test]
async fn an_opt_out_in_a_received_record_takes_effect_onward_and_is_told_back() {
    for engine in Engine::BOTH {
        let world = World::new(engine, &["northwind", "brightwater", "orchard"]).await;
        for how in [Withdrawal::ChoiceCleared, Withdrawal::OptedOut] {
            // Somebody whom Northwind shared, and then got from Orchard as well.
            let given = world.people("orchard", "northwind", Story::Good, 2).remove(usize::from(how as u8));
            let (own, id) = enter_known_as(&world, &given.email);
            world.settle().await;
            world.enter(std::slice::from_ref(&given));
            world.settle().await;
            assert_eq!(world.with_email("northwind", &given.email).len(), 1, "{how:?}, {engine:?}");
            let find = |shares: Vec<Share>, source: &str| shares.into_iter().find(|share| share.source == source).unwrap();
            assert_eq!(find(world.shares(&given.email).await, "orchard").status, "delivered", "{how:?}, {engine:?}");
            withdraw(&world, how, &own, &id).await;
            world.pass(2 * MINUTE).await;
            world.settle().await;
            let onward = find(world.shares(&given.email).await, "northwind");
            assert_eq!(onward.status, "recalled", "{how:?}, {engine:?}: {onward:?}");
            assert!(world.with_email("brightwater", &given.email).is_empty(), "{how:?}, {engine:?}: still reachable there");
            assert_eq!(text(&world.record("northwind", &id), "ls_share_status"), "Taken back", "{how:?}, {engine:?}");
            // Not to have chosen Brightwater says nothing of Northwind itself.
            let inward = find(world.shares(&given.email).await, "orchard");
            let wanted = if how as u8 == 0 { ("delivered", None) } else { ("returned", Some("opted_out_there")) };
            assert_eq!((inward.status.as_str(), inward.reason.as_deref()), wanted, "{how:?}, {engine:?}");
        }

        let (person, id) = world.enter_good("northwind", "orchard");
        world.settle().await;
        let there = world.with_email("orchard", &person.email).remove(0);
        world.update("orchard", &there.id, &json!({ "state": "cancelled" }));
        world.pass(2 * MINUTE).await;
        world.settle().await;
        assert_eq!(world.stand(&person.email).await.2.as_deref(), Some("opted_out_there"), "{engine:?}");
        assert_eq!(text(&world.record("northwind", &id), "ls_share_status"), "Returned", "{engine:?}: the sharer is told");
    }
}

/// Takes in a record in which a partner received somebody whom it shared before; it says these things.
async fn read_received(world: &World, share: &Share, fields: &Fields, commit: impl Future<Output = ()>) {
    let (ctx, rules) = (&world.ctx, world.ctx.rules());
    let line = &ctx.lines["northwind"];
    let hint = Dirty { remote_id: "77".into(), seq: 1, hints: 1, kind: "changed".into(), detail: None, raised_at: 0, claims: 1 };
    let (object, id, version) = ("contact".to_owned(), "77".to_owned(), "1".to_owned());
    let record = Record { object, id, fields: fields.clone(), version, created_at: None, modified_at: None, state: State::Live };
    let mut tx = ctx.db.begin().await.unwrap();
    let there = shares::remote_by_person(&mut tx, "brightwater", &json!([[share.person]])).await.unwrap().remove(0);
    let mut entries = Entries::new(&world.ctx);
    noes::of_received(&mut tx, ctx, &rules, line, &rules.of("northwind")[0], &[(hint, there, record)], &mut entries).await.unwrap();
    commit.await;
    tx.commit().await.unwrap();
}

// Breaks when a no that is heeded is forgotten, because another record of the same person had been read before.
#[tokio::test]
async fn noes_that_come_at_the_same_time_all_count() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let good = world.people("northwind", "brightwater", Story::Good, 12);
        let person = good.into_iter().find(|p| p.fields.contains_key("ls_consented_phone")).unwrap();
        let id = world.enter(std::slice::from_ref(&person)).remove(0);
        world.settle().await;
        let share = world.share(&person.email).await;
        let said = |field: &str, value: &str| {
            let mut fields = world.record("northwind", &id).fields;
            fields.insert(field.into(), value.into());
            fields
        };
        // The first has heeded its no and not committed it when the second waits for the person, where the store lets it get so far.
        let waits = async || {
            let Db::Postgres(pool) = &world.ctx.db else { return true };
            let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            sqlx::query_as::<_, (i64,)>(sql).fetch_one(pool).await.unwrap().0 > 0
        };
        let (begun, begin) = tokio::sync::oneshot::channel();
        let (no_mail, nobody) = (said("hs_email_optout", "true"), said("ls_partner_choice", "nobody"));
        let first = read_received(&world, &share, &no_mail, async {
            begun.send(()).unwrap();
            while !waits().await {
                tokio::task::yield_now().await;
            }
        });
        let second = async {
            begin.await.unwrap();
            read_received(&world, &share, &nobody, async {}).await;
        };
        tokio::join!(first, second);
        let mut tx = world.ctx.db.begin().await.unwrap();
        let keys = Keys::load(&mut tx, &world.ctx.vault, [share.person.as_str()]).await.unwrap();
        let stored = leads::leads(&mut tx, &json!([[share.lead]])).await.unwrap().remove(0);
        let lead: Lead = keys.open(&share.person, lead_place(&share.lead), &stored.data.unwrap()).unwrap().unwrap();
        assert!(lead.consent.nobody && !lead.consent.stops.is_empty(), "{engine:?}: {:?}", lead.consent.stops);
    }
}

// Breaks when a connection that the volume brake stopped keeps what people want stopped waiting too, or shares something new.
#[tokio::test]
async fn the_brake_holds_no_withdrawal() {
    let two_an_hour = |path: &str, text: &str| match path {
        "leadshare.toml" => text.replace("brake_per_hour = 1000000", "brake_per_hour = 2"),
        _ => text.to_owned(),
    };
    for engine in Engine::BOTH {
        let world = World::changed(engine, PLAIN, &two_an_hour).await;
        let people = world.people("northwind", "brightwater", Story::Good, 3);
        let mut ids = world.enter(&people[..2]);
        world.pass(MINUTE).await;
        assert!(world.alerts().await.iter().any(|(_, code)| code == "connection.braked"), "{engine:?}");
        ids.extend(world.enter(&people[2..]));
        world.update("northwind", &ids[0], &json!({ "ls_partner_choice": null }));
        world.forget("northwind", &ids[1]);
        world.pass(MINUTE).await;
        for person in &people[..2] {
            assert_eq!(world.share(&person.email).await.status, "recalled", "{engine:?}");
            assert!(world.with_email("brightwater", &person.email).is_empty(), "{engine:?}: still reachable there");
        }
        assert_eq!(text(&world.record("northwind", &ids[0]), "ls_share_status"), "Taken back", "{engine:?}");
        assert!(world.shares(&people[2].email).await.is_empty(), "{engine:?}: shared in spite of the brake");
        pipeline::release(&world.ctx.db, "northwind", world.clock.now()).await.unwrap();
        world.settle().await;
        assert_eq!(world.share(&people[2].email).await.status, "delivered", "{engine:?}: it waits still");
    }
}

// Breaks when nobody is told of what people must take back by hand, when the news of it ends what they were told, or when
// it is still asked for after the recipient has deleted the record.
#[tokio::test]
async fn what_people_must_take_back_is_told_until_it_is_gone() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (person, id) = enter_by_mail_only(&world);
        world.settle().await;
        let there = world.with_email("brightwater", &person.email).remove(0).id;
        world.pass(MINUTE).await;
        world.update("brightwater", &there, &json!({ "Status": "Working - Contacted" }));
        world.settle().await;
        withdraw(&world, Withdrawal::ChoiceCleared, &person, &id).await;
        world.settle().await;
        assert_eq!(text(&world.record("northwind", &id), "ls_share_status"), "Taken back", "the sharer is told");
        let told = vec![(format!("share:{}", world.share(&person.email).await.id), "share.take_back_by_hand".to_owned())];
        assert_eq!(world.alerts().await, told, "{engine:?}: somebody works with it, so people must see to it");
        world.delete("brightwater", &there);
        world.settle().await;
        assert_eq!(world.alerts().await, vec![], "{engine:?}: it is gone");
    }
}

// Breaks when anybody whose story says no reaches a recipient, or one who said yes does not.
#[tokio::test]
async fn only_those_who_agreed_leave() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let mut people = Vec::new();
        for story in [Story::Good, Story::NoChoice, Story::Nobody, Story::Imported, Story::OptedOut, Story::Suppressed] {
            people.extend(world.people("northwind", "brightwater", story, 2));
        }
        for person in people.iter().filter(|p| p.story == Story::Suppressed) {
            withdraw(&world, Withdrawal::Suppressed, person, "").await;
        }
        world.enter(&people);
        world.settle().await;
        for person in &people {
            let there = world.with_email("brightwater", &person.email).len();
            assert_eq!(there, usize::from(person.story == Story::Good), "{:?}", person.story);
        }
        let outcomes = world.outcomes().await;
        assert_eq!((outcomes.get("no_consent"), outcomes.get("suppressed")), (Some(&8), Some(&2)), "{outcomes:?}");
        assert_eq!(count::without_consent(&world.stage.look(), &people), 0);
    }
}

// Breaks when the demo's count of those who left without consent cannot become anything but zero: here
// the mapping is broken on purpose and takes an import for the person's own yes.
#[tokio::test]
async fn the_count_without_consent_can_be_more_than_zero() {
    let believe_imports = |path: &str, text: &str| match path {
        "mappings/northwind.toml" => {
            assert!(text.contains("set_by = [\"FORM\"]"));
            text.replace("set_by = [\"FORM\"]", "set_by = [\"FORM\", \"IMPORT\"]")
        }
        _ => text.to_owned(),
    };
    for engine in Engine::BOTH {
        let world = World::changed(engine, PLAIN, &believe_imports).await;
        let people = world.people("northwind", "brightwater", Story::Imported, 3);
        world.enter(&people);
        world.settle().await;
        assert_eq!(count::without_consent(&world.stage.look(), &people), 3);
    }
}

// Breaks when the demo's count of duplicates cannot become anything but zero: here somebody at the
// recipient types a delivered person in again.
#[tokio::test]
async fn the_count_of_duplicates_can_be_more_than_zero() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (person, _) = world.enter_one();
        world.settle().await;
        assert_eq!(count::duplicates(&world.stage.look()), 0);
        let again: Value = json!({ "Email": person.email.to_uppercase(), "LastName": "Again", "Company": "Again" });
        world.create("brightwater", &again);
        assert_eq!(count::duplicates(&world.stage.look()), 1);
    }
}
