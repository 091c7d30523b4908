//! The operator's pages.

use axum::body::Body;
use axum::http::Request;

use super::fill::lead_id;
use super::{Answer, PASSWORD, World};
use crate::args;
use crate::clock::{HOUR, MINUTE};
use crate::web::auth::AdminAuth;

const PAGES: [&str; 5] = ["/", "/leads", "/changes", "/connections", "/leads/lead-0"];

/// Signs in and answers the session's cookie.
async fn signed_in(world: &World) -> String {
    let answer = world.post("/login", "", &format!("password={}&next=%2Fleads", PASSWORD.replace(' ', "+"))).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/leads"));
    answer.cookie()
}

async fn open_world() -> World {
    World::with(AdminAuth::Open, "http://127.0.0.1:8080").await
}

async fn local(world: &World, path: &str) -> Answer {
    world.ask(Request::get(path).header("host", "127.0.0.1:8080").body(Body::empty()).expect("a request")).await
}

/// The token of the form on a page.
fn form_token(page: &str) -> String {
    page.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form token").to_owned()
}

// Breaks when a page of the operator's opens without the password, or the session's cookie can be
// read by scripts, sent along from other sites, or used after its end.
#[tokio::test]
async fn pages_open_with_a_session_only() {
    let world = World::new().await;
    world.fill().await;
    for path in PAGES {
        let answer = world.get(path, "").await;
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.header("location").starts_with("/login?next=%2F"), "{path}: {}", answer.header("location"));
        assert_eq!(world.get(path, "__Host-ls_session=guessed").await.status, 303, "{path}");
    }
    let wrong = world.post("/login", "", "password=wrong").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("not the password") && wrong.cookie().is_empty());
    let login = world.post("/login", "", &format!("password={}", PASSWORD.replace(' ', "+"))).await;
    for part in ["__Host-ls_session=", "HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(login.header("set-cookie").contains(part), "{part}: {}", login.header("set-cookie"));
    }
    let cookie = login.cookie();
    for path in PAGES {
        assert_eq!(world.get(path, &cookie).await.status, 200, "{path}");
    }
    world.ctx.clock.advance(12 * HOUR);
    assert_eq!(world.get("/", &cookie).await.status, 303);

    let cookie = signed_in(&world).await;
    let token = form_token(&world.get("/", &cookie).await.body);
    assert_eq!(world.post("/logout", &cookie, "token=guessed").await.status, 403);
    assert_eq!(world.post("/logout", &cookie, &format!("token={token}")).await.status, 303);
    assert_eq!(world.get("/", &cookie).await.status, 303);
}

// Breaks when passwords can be tried as fast as the network allows.
#[tokio::test]
async fn wrong_passwords_are_slowed_down() {
    let world = World::new().await;
    for _ in 0..10 {
        assert_eq!(world.post("/login", "", "password=wrong").await.status, 401);
    }
    assert_eq!(world.post("/login", "", &format!("password={}", PASSWORD.replace(' ', "+"))).await.status, 429);
    world.ctx.clock.advance(MINUTE);
    signed_in(&world).await;
}

// Breaks when another site reads open pages through a name that it points at this machine.
#[tokio::test]
async fn open_pages_answer_to_loopback_names_only() {
    let world = open_world().await;
    assert_eq!(local(&world, "/").await.status, 200);
    let request = Request::get("/").header("host", "rebound.evil.example").body(Body::empty()).expect("a request");
    let answer = world.ask(request).await;
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("this machine only"), "{}", answer.body);
}

// Breaks when a page shows a person's data unasked, or shows it without a form of ours.
#[tokio::test]
async fn personal_data_is_masked_until_asked_for() {
    let world = World::new().await;
    world.fill().await;
    let cookie = signed_in(&world).await;
    for path in PAGES {
        let page = world.get(path, &cookie).await.body;
        for clear in ["Jonna", "Müller", "jonna.mueller", "+4930901820", "Second floor"] {
            assert!(!page.contains(clear), "{path} shows {clear}");
        }
    }
    let page = world.get("/leads/lead-0", &cookie).await.body;
    assert!(page.contains("J••• M••• · Ottobrunn Werkzeugbau GmbH") && page.contains("j•••@ottobrunn.example"), "{page}");
    for proof in ["", "token=", "token=guessed"] {
        let answer = world.post("/leads/lead-0", &cookie, proof).await;
        assert_eq!(answer.status, 403, "{proof}");
        assert!(!answer.body.contains("Jonna"));
    }
    let clear = world.post("/leads/lead-0", &cookie, &format!("token={}", form_token(&page))).await.body;
    for shown in ["Jonna", "Müller", "jonna.mueller@ottobrunn.example", "+4930901820", "It was noted"] {
        assert!(clear.contains(shown), "{shown} is missing");
    }
    assert!(!world.get("/leads/lead-0", &cookie).await.body.contains("Jonna"));
}

// Breaks when the trace of a lead leaves out a gate, a try, the proof, or the ledger.
#[tokio::test]
async fn a_lead_is_explained_to_the_end() {
    let world = open_world().await;
    world.fill().await;
    let shared = local(&world, "/leads/lead-0").await.body;
    for told in [
        "brightwater",
        "rheinwerk",
        "5 of 5 leads a day are used",
        "partner rheinwerk capacity",
        "3 privacy.purpose.introduce",
        "specialization 0.40",
        "capacity.day",
        "northwind-brightwater",
        "record 8000, made by us",
        "vendor_503",
        "412 ms",
        "236 ms",
        "double_opt_in",
        "webform-2026-04",
        "accepted",
        "qualified",
        "said by recipient",
        "share.delivered",
        "lead.decided",
        "not sealed yet",
    ] {
        assert!(shared.contains(told), "{told} is missing");
    }
    assert!(!shared.contains("share-1"), "another lead's entries are shown");
    let refused = local(&world, &format!("/leads/{}", lead_id(4))).await.body;
    assert!(
        refused.contains("the person did not choose this partner") && refused.contains("3 privacy.basis") && refused.contains("Nowhere")
    );
}

// Breaks when a decision that another version wrote differently takes the whole page down.
#[tokio::test]
async fn what_cannot_be_read_is_left_out() {
    let world = open_world().await;
    world.fill().await;
    for body in ["", "[]", "{\"verdicts\":[{\"findings\":[5,{}],\"score\":[[1]]},null]}"] {
        world.ctx.db.exec("UPDATE decisions SET body = $1 WHERE lead = 'lead-0'", args![body]).await.expect("a change");
        let answer = local(&world, "/leads/lead-0").await;
        assert_eq!(answer.status, 200, "{body}");
        assert!(answer.body.contains("vendor_503"), "{body}");
    }
    world.ctx.db.exec("UPDATE leads SET data = 'v1.damaged' WHERE id = 'lead-0'", args![]).await.expect("a change");
    assert!(local(&world, "/leads/lead-0").await.body.contains("cannot be opened"));
}

// Breaks when an erased person can still be seen, or what was done to it can not.
#[tokio::test]
async fn an_erased_person_leaves_codes_only() {
    let world = open_world().await;
    world.fill().await;
    world.ctx.db.exec("UPDATE people SET data_key = NULL, erased_at = $1 WHERE id = 'person-0'", args![super::NOW]).await.expect("erased");
    let page = local(&world, "/leads/lead-0").await.body;
    assert!(page.contains("This person was erased") && page.contains("share.delivered"), "{page}");
    assert!(!page.contains("Ottobrunn") && !page.contains("jonna"), "{page}");
    assert!(local(&world, "/leads").await.body.contains("Erased"));
}

// Breaks when a list leaves rows out, repeats them, or does not keep to its filter while going on.
#[tokio::test]
async fn lists_go_on_to_the_last_row() {
    let world = open_world().await;
    let mut rows = Vec::new();
    for n in 0..120 {
        // Many at the same moment: the id decides then.
        let outcome = if n % 2 == 0 { "shared" } else { "gone" };
        rows.push(serde_json::json!([format!("change-{n:03}"), format!("r{n:03}"), 1, 0, outcome, "", null, null]));
    }
    let mut tx = world.ctx.db.begin().await.expect("a transaction");
    crate::store::leads::save_changes(&mut tx, "northwind-crm", "contact", serde_json::Value::from(rows), super::NOW)
        .await
        .expect("changes");
    tx.commit().await.expect("commits");
    for (outcome, expected) in [("", 120), ("shared", 60)] {
        let (mut path, mut seen) = (format!("/changes?outcome={outcome}"), std::collections::BTreeSet::new());
        loop {
            let page = local(&world, &path).await.body;
            for found in page.split("contact r").skip(1) {
                assert!(seen.insert(found[..3].to_owned()), "{} comes twice", &found[..3]);
            }
            let Some(next) = page.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next()) else { break };
            path = next.replace("&#38;", "&").replace("&amp;", "&");
        }
        assert_eq!(seen.len(), expected, "{outcome}");
    }
    assert_eq!(local(&world, "/changes?before=nonsense").await.status, 400);
}

// Breaks when what needs a person is not on the first page, or an empty program looks broken.
#[tokio::test]
async fn the_overview_says_what_needs_a_person() {
    let world = open_world().await;
    let empty = local(&world, "/").await.body;
    assert!(empty.contains("<code>leadshare connect northwind-crm</code>") && empty.contains("Nothing has come in yet"), "{empty}");
    for path in ["/leads", "/changes", "/connections"] {
        assert_eq!(local(&world, path).await.status, 200, "{path}");
    }
    world.fill().await;
    let full = local(&world, "/").await.body;
    for told in [
        "connection.reconnect_needed",
        "<code>leadshare connect brightwater-crm</code>",
        "delivery.failed",
        "held until a person approves",
        "northwind-crm.toml:14:52",
        "Everything is stopped: a wrong price list went out.",
        "/changes?outcome=no_consent",
    ] {
        assert!(full.contains(told), "{told} is missing in {full}");
    }
    world.ctx.set_refused(None);
    world.ctx.db.exec("DELETE FROM alerts", args![]).await.expect("mended");
    world.ctx.db.exec("DELETE FROM deliveries", args![]).await.expect("mended");
    world.ctx.db.exec("DELETE FROM shares", args![]).await.expect("mended");
    assert!(local(&world, "/").await.body.contains("Nothing needs a person"));
}

// Breaks when a connection's trouble, queue or state is not told.
#[tokio::test]
async fn connections_tell_how_they_stand() {
    let world = open_world().await;
    world.fill().await;
    let connections = local(&world, "/connections").await.body;
    for told in ["reconnect needed", "invalid grant", "2 records to read", "Fake CRM", "1 outcome to tell back, given up"] {
        assert!(connections.contains(told), "{told} is missing in {connections}");
    }
}

// Breaks when a failing store shows its inside, or a blank page.
#[tokio::test]
async fn a_failing_store_gives_a_page_that_says_so() {
    let world = open_world().await;
    world.ctx.db.close().await;
    for path in ["/", "/leads", "/changes", "/connections", "/leads/x"] {
        let answer = local(&world, path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.body.contains("Not possible right now") && !answer.body.to_lowercase().contains("pool"), "{path}: {}", answer.body);
    }
}

// Breaks when text from a vendor's system becomes markup.
#[tokio::test]
async fn foreign_text_stays_text() {
    let world = open_world().await;
    world.fill().await;
    let evil = "<img src=x onerror=alert(1)>";
    world.ctx.db.exec("UPDATE changes SET reason = $1", args![evil]).await.expect("a change");
    world.ctx.db.exec("UPDATE alerts SET message = $1", args![evil]).await.expect("a change");
    for path in PAGES {
        assert!(!local(&world, path).await.body.contains("<img"), "{path}");
    }
}

// Breaks when pages that no password opens can be seen, or ask for one that nobody has.
#[tokio::test]
async fn without_a_password_the_pages_are_closed_and_say_so() {
    let world = World::with(AdminAuth::Closed, "http://127.0.0.1:8080").await;
    for path in ["/", "/login", "/leads", "/connections"] {
        let answer = local(&world, path).await;
        assert!(answer.status == 403 && answer.body.contains("server.admin_password"), "{path}: {} {}", answer.status, answer.body);
    }
}
