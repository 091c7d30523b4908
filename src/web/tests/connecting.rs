//! A partner connects: the link, the vendor, the way back, the result.

use super::World;
use crate::clock::{DAY, HOUR, MINUTE};
use crate::oauth::authorize::make_link;
use crate::store::connections;

/// A link's path.
async fn link(world: &World, connection: &str) -> String {
    let url = make_link(&world.ctx, connection, DAY).await.expect("a link");
    url.strip_prefix("https://leads.example").expect("our address").to_owned()
}

/// A browser that left for the vendor and allowed: where it comes back to, and its cookie.
async fn allowed(world: &World, link: &str) -> (String, String) {
    let left = world.post(link, "", "").await;
    assert_eq!(left.status, 303, "{}", left.body);
    (world.vendor.allow(left.header("location")), left.cookie())
}

async fn state_of(world: &World, connection: &str) -> String {
    connections::one(&world.ctx.db, connection).await.expect("a store").expect("a connection").state
}

// Breaks when a partner cannot connect, or is not told in plain words what that means.
#[tokio::test]
async fn a_partner_connects_through_the_link() {
    let world = World::new().await;
    let link = link(&world, "northwind-crm").await;
    let page = world.get(&link, "").await;
    assert_eq!(page.status, 200);
    for text in
        ["Fake CRM", "Partner of northwind-crm", "E-mail", "Company", "Lead status", "Only contacts on the list", "Only what people do"]
    {
        assert!(page.body.contains(text), "{text} is missing in {}", page.body);
    }
    assert!(page.header("content-security-policy").contains(&format!("form-action 'self' https: {}", world.vendor.url)));

    let (back, cookie) = allowed(&world, &link).await;
    let returned = world.get(&back, &cookie).await;
    assert_eq!(returned.status, 303, "{}", returned.body);
    let result = world.get(returned.header("location"), "").await;
    assert!(result.body.contains("Your Fake CRM is connected") && result.body.contains("nothing more to do"), "{}", result.body);
    assert_eq!(state_of(&world, "northwind-crm").await, "connected");
    assert_eq!(state_of(&world, "brightwater-crm").await, "new");
    for body in [page.body, returned.body, result.body] {
        assert!(!body.contains("secret"), "a secret is shown: {body}");
    }
}

// Breaks when what is missing at the vendor is not named with its clicks, or mending it is not seen.
#[tokio::test]
async fn what_is_missing_is_named_and_checked_again() {
    let world = World::new().await;
    world.vendor.held().has_marker = false;
    let (back, cookie) = allowed(&world, &link(&world, "northwind-crm").await).await;
    let result = world.get(&back, &cookie).await.header("location").to_owned();
    let page = world.get(&result, "").await.body;
    assert!(page.contains("something is still missing") && page.contains("Create property “ls_marker”"), "{page}");
    let alerts = connections::open_alerts(&world.ctx.db).await.expect("a store");
    assert!(alerts.len() == 1 && alerts[0].1 == "connection.incomplete" && alerts[0].2.contains("Create property"), "{alerts:?}");
    world.vendor.held().has_marker = true;
    assert!(world.get(&result, "").await.body.contains("nothing more to do"));
    assert_eq!(connections::open_alerts(&world.ctx.db).await.expect("a store"), vec![]);
    world.ctx.clock.advance(DAY + 1);
    assert_eq!(world.get(&result, "").await.status, 404);
}

// Breaks when a link outlives its time or its purpose, or a result page's address can connect.
#[tokio::test]
async fn a_link_is_good_once_and_for_a_time() {
    let world = World::new().await;
    let used = link(&world, "northwind-crm").await;
    let (back, cookie) = allowed(&world, &used).await;
    let receipt = world.get(&back, &cookie).await.header("location").replace("/connected/", "");
    assert_eq!(world.get(&used, "").await.status, 404);
    assert_eq!(world.post(&used, "", "").await.status, 404);
    assert_eq!(world.post(&format!("/connect/{receipt}"), "", "").await.status, 404);

    let old = link(&world, "northwind-crm").await;
    world.ctx.clock.advance(DAY + 1);
    let page = world.get(&old, "").await;
    assert_eq!(page.status, 404);
    assert!(page.body.contains("has run out"), "{}", page.body);
    assert_eq!(world.post(&old, "", "").await.status, 404);
}

// Breaks when an answer from the vendor counts twice, late, altered, or in another browser.
#[tokio::test]
async fn a_state_is_good_once_in_one_browser() {
    let world = World::new().await;
    let link = link(&world, "northwind-crm").await;

    let (back, _) = allowed(&world, &link).await;
    let stranger = world.get(&back, "").await;
    assert_eq!(stranger.status, 400);
    assert!(stranger.body.contains("another browser"), "{}", stranger.body);

    let (back, cookie) = allowed(&world, &link).await;
    let altered = world.get(&back.replace("state=", "state=x"), &cookie).await;
    assert_eq!(altered.status, 400);

    world.ctx.clock.advance(15 * MINUTE + 1);
    assert_eq!(world.get(&back, &cookie).await.status, 404);
    assert_eq!(state_of(&world, "northwind-crm").await, "new");

    let (back, cookie) = allowed(&world, &link).await;
    assert_eq!(world.get(&back, &cookie).await.status, 303);
    let again = world.get(&back, &cookie).await;
    assert_eq!(again.status, 404);
    assert!(again.body.contains("already done"), "{}", again.body);
}

// Breaks when a code stolen on its way can be used without the verifier that only we hold.
#[tokio::test]
async fn a_code_of_another_flow_is_refused() {
    let world = World::new().await;
    let (theirs, _) = allowed(&world, &link(&world, "brightwater-crm").await).await;
    let (ours, cookie) = allowed(&world, &link(&world, "northwind-crm").await).await;
    let code = |path: &str| path.split("code=").nth(1).and_then(|c| c.split('&').next()).expect("a code").to_owned();
    let mixed = ours.replace(&code(&ours), &code(&theirs));
    let answer = world.get(&mixed, &cookie).await;
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("invalid_grant"), "{}", answer.body);
    assert_eq!(state_of(&world, "northwind-crm").await, "new");
}

// Breaks when a refusal at the vendor leaves a partner without the clicks, or repeats foreign text.
#[tokio::test]
async fn a_refusal_comes_with_clicks() {
    let world = World::new().await;
    let link = link(&world, "northwind-crm").await;
    let (back, cookie) = allowed(&world, &link).await;
    let state = back.split("state=").nth(1).expect("a state");
    let denied = format!("/oauth/callback?error=invalid_client&error_description=app+must+be+installed+into+org+%3Cb%3E&state={state}");
    let page = world.get(&denied, &cookie).await;
    assert_eq!(page.status, 409);
    assert!(page.body.contains("Connected Apps OAuth Usage") && page.body.contains(&link), "{}", page.body);
    assert!(!page.body.contains("into org"), "{}", page.body);
    // The state is used up, the link is not.
    assert_eq!(world.get(&back, &cookie).await.status, 404);
    let (back, cookie) = allowed(&world, &link).await;
    assert_eq!(world.get(&back, &cookie).await.status, 303);
}

// Breaks when a vendor's passing trouble ends a link.
#[tokio::test]
async fn passing_trouble_keeps_the_link() {
    let world = World::new().await;
    let link = link(&world, "northwind-crm").await;
    world.vendor.held().down = true;
    let (back, cookie) = allowed(&world, &link).await;
    let answer = world.get(&back, &cookie).await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("Start again") && answer.body.contains(&link), "{}", answer.body);
    world.vendor.held().down = false;
    let (back, cookie) = allowed(&world, &link).await;
    assert_eq!(world.get(&back, &cookie).await.status, 303);
}

// Breaks when connecting again loses what is known, moves the day that sharing began, or slips in
// another account.
#[tokio::test]
async fn connecting_again_keeps_everything_and_the_account() {
    let world = World::new().await;
    let connect = async |account: &str| {
        world.vendor.held().account = account.into();
        let link = link(&world, "northwind-crm").await;
        let again = world.get(&link, "").await.body.contains("Connected before");
        let (back, cookie) = allowed(&world, &link).await;
        (again, world.get(&back, &cookie).await)
    };
    assert!(!connect("acme").await.0);
    let first = connections::one(&world.ctx.db, "northwind-crm").await.expect("a store").expect("a connection");
    world.ctx.clock.advance(HOUR);
    let (again, answer) = connect("acme").await;
    assert!(again);
    assert_eq!(answer.status, 303);
    let second = connections::one(&world.ctx.db, "northwind-crm").await.expect("a store").expect("a connection");
    assert_eq!(first, second);
    let (_, answer) = connect("somebody-else").await;
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("connection.other_account"), "{}", answer.body);
    assert_eq!(connections::one(&world.ctx.db, "northwind-crm").await.expect("a store"), Some(second));
}
