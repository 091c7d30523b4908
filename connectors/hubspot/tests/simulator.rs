//! What the simulator must do as HubSpot does, whether or not our connector meets it.

use serde_json::{Value, json};

use super::{MARKER, START, World, fields};
use crate::hubspot::sandbox::HubSpotSandbox;
use crate::sdk::{Act, App, Fault, Method, Millis, Response, Sandbox, SandboxReply, SandboxRequest};

const CALLBACK: &str = "https://us.example/callback";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn app() -> App {
    App { client_id: "client".into(), client_secret: "secret".into(), redirect_uri: CALLBACK.into(), webhook_url: None }
}

fn call(sandbox: &mut dyn Sandbox, method: Method, path: &str, token: &str, body: &str, now: Millis) -> Response {
    let headers = vec![("authorization".to_owned(), format!("Bearer {token}")), (FORM.0.to_owned(), FORM.1.to_owned())];
    match sandbox.handle(&SandboxRequest { method, path: path.into(), headers, body: body.into() }, now) {
        SandboxReply::Answer(response) => response,
        SandboxReply::Dropped => panic!("the connection broke"),
    }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn value(response: &Response) -> Value {
    response.value().unwrap_or_default()
}

/// Walks the page and its button; answers the code.
fn code(sandbox: &mut dyn Sandbox, scope: &str, challenge: Option<&str>) -> String {
    let mut asked = vec![("client_id", "client"), ("redirect_uri", CALLBACK), ("scope", scope), ("state", "a&b")];
    if let Some(challenge) = challenge {
        asked.extend([("code_challenge", challenge), ("code_challenge_method", "S256")]);
    }
    let page = call(sandbox, Method::Get, &format!("/oauth/authorize?{}", encoded(&asked)), "", "", START);
    let html = String::from_utf8_lossy(&page.body).into_owned();
    assert!(html.contains("<form method=\"post\"") && html.contains(">Allow</button>") && html.contains("value=\"a&amp;b\""), "{html}");
    asked.push(("decision", "allow"));
    let sent = call(sandbox, Method::Post, "/oauth/authorize", "", &encoded(&asked), START);
    assert_eq!(sent.status, 302);
    let back = url::Url::parse(sent.header("location").expect("sent back")).expect("an address");
    assert!(back.query_pairs().any(|(name, value)| name == "state" && value == "a&b"));
    back.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned()
}

fn exchange(sandbox: &mut dyn Sandbox, version: &str, more: &[(&str, &str)], now: Millis) -> Response {
    let mut pairs = vec![("client_id", "client"), ("client_secret", "secret"), ("redirect_uri", CALLBACK)];
    pairs.extend_from_slice(more);
    call(sandbox, Method::Post, &format!("/oauth/{version}/token"), "", &encoded(&pairs), now)
}

/// Breaks when a code works twice or late, a refresh rotates, or a scope that was not granted suffices.
#[test]
fn oauth_goes_as_at_hubspot() {
    let mut sandbox = HubSpotSandbox::new(3);
    sandbox.register(app());
    let first = code(&mut sandbox, "oauth crm.objects.contacts.read", None);
    let redeem = |sandbox: &mut HubSpotSandbox, code: &str, now| {
        exchange(sandbox, "2026-09", &[("grant_type", "authorization_code"), ("code", code)], now)
    };
    let granted = value(&redeem(&mut sandbox, &first, START + 1_000));
    assert_eq!((&granted["expires_in"], &granted["token_type"]), (&json!(1800), &json!("bearer")));
    assert!(granted["hub_id"].is_u64() && granted["access_token"].as_str().is_some_and(|token| token.len() > 300));
    assert_eq!(value(&redeem(&mut sandbox, &first, START + 2_000))["error"], "invalid_grant", "a code works once");
    let late = code(&mut sandbox, "oauth", None);
    assert_eq!(redeem(&mut sandbox, &late, START + 120_000).status, 400, "a code lives a minute");

    let refresh = granted["refresh_token"].as_str().expect("a refresh token").to_owned();
    let renew = |sandbox: &mut HubSpotSandbox, version: &str| {
        exchange(sandbox, version, &[("grant_type", "refresh_token"), ("refresh_token", &refresh)], START)
    };
    let renewed = value(&renew(&mut sandbox, "v3"));
    assert_eq!(renewed["refresh_token"], refresh.as_str(), "refresh tokens do not rotate");
    let oldest = value(&renew(&mut sandbox, "v1"));
    assert_eq!(oldest.as_object().map(serde_json::Map::len), Some(4), "the oldest endpoint says no more than the tokens");
    let in_address = format!("/oauth/v3/token?{}", encoded(&[("client_id", "client"), ("client_secret", "secret")]));
    assert_eq!(call(&mut sandbox, Method::Post, &in_address, "", "", START).status, 400, "parameters belong in the body");

    let token = renewed["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(call(&mut sandbox, Method::Get, "/crm/v3/objects/contacts", &token, "", START).status, 200);
    let refused = call(&mut sandbox, Method::Post, "/crm/v3/objects/contacts", &token, "{}", START);
    assert_eq!((refused.status, &value(&refused)["category"]), (403, &json!("MISSING_SCOPES")));
    assert_eq!(value(&refused)["errors"][0]["context"]["requiredGranularScopes"][0], "crm.objects.contacts.write");
    let expired = call(&mut sandbox, Method::Get, "/crm/v3/objects/contacts", &token, "", START + 1_800_000);
    assert_eq!((expired.status, &value(&expired)["category"]), (401, &json!("EXPIRED_AUTHENTICATION")));

    let ask = |sandbox: &mut HubSpotSandbox, what: &str, token: &str| {
        let body = encoded(&[("client_id", "client"), ("client_secret", "secret"), ("token", token)]);
        value(&call(sandbox, Method::Post, &format!("/oauth/2026-09/token/{what}"), "", &body, START))
    };
    assert_eq!(ask(&mut sandbox, "introspect", &refresh)["active"], true);
    ask(&mut sandbox, "revoke", &refresh);
    assert_eq!(ask(&mut sandbox, "introspect", &refresh), json!({ "active": false }));
    assert_eq!(ask(&mut sandbox, "introspect", &token)["active"], true, "access tokens outlive their refresh token");
    assert_eq!(value(&renew(&mut sandbox, "2026-09"))["status"], "BAD_REFRESH_TOKEN");
}

/// Breaks when a challenge that was sent is not checked; the pair is the one of RFC 7636, appendix B.
#[test]
fn a_code_challenge_is_checked() {
    let mut sandbox = HubSpotSandbox::new(3);
    sandbox.register(app());
    for (verifier, status) in [("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", 200), ("wrong", 400)] {
        let code = code(&mut sandbox, "oauth", Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
        let more = [("grant_type", "authorization_code"), ("code", code.as_str()), ("code_verifier", verifier)];
        assert_eq!(exchange(&mut sandbox, "2026-09", &more, START).status, status);
    }
}

/// Breaks when an unknown app, address or scope gets a page with a button.
#[test]
fn a_wrong_authorization_request_gets_no_button() {
    let mut sandbox = HubSpotSandbox::new(3);
    sandbox.register(app());
    for (client, back, scope) in
        [("other", CALLBACK, "oauth"), ("client", "https://evil.example", "oauth"), ("client", CALLBACK, "crm.everything")]
    {
        let path = format!("/oauth/authorize?{}", encoded(&[("client_id", client), ("redirect_uri", back), ("scope", scope)]));
        let page = call(&mut sandbox, Method::Get, &path, "", "", START);
        assert!(page.status == 400 && !String::from_utf8_lossy(&page.body).contains("Allow"));
    }
}

fn post(world: &mut World, path: &str, body: &Value) -> (u16, Value) {
    let answer = world.send(Method::Post, path, body.to_string().as_bytes()).expect("answered");
    (answer.status, value(&answer))
}

/// Breaks when search lets a client page further, or ask for more, than HubSpot does.
#[test]
fn search_has_its_caps() {
    let mut world = World::new();
    let path = "/crm/objects/2026-09/contacts/search";
    for (body, status) in [
        (json!({ "limit": 200, "after": "9800" }), 200),
        (json!({ "limit": 200, "after": "9801" }), 400),
        (json!({ "limit": 201 }), 400),
        (json!({ "sorts": ["email", "firstname"] }), 400),
        (json!({ "filterGroups": [{ "filters": [{ "propertyName": "nowhere", "operator": "EQ", "value": "1" }] }] }), 400),
        (json!({ "filterGroups": vec![json!({ "filters": [] }); 6] }), 400),
    ] {
        assert_eq!(post(&mut world, path, &body).0, status, "{body}");
    }
}

/// Breaks when search compares otherwise than HubSpot: texts without case, lists in lower case only, numbers by size.
#[test]
fn search_compares_as_hubspot_does() {
    let mut world = World::new();
    let id = world.person(&[("email", "jo@example.com"), ("country", "NL"), ("hs_lead_status", "NEW")]);
    world.person(&[("firstname", "Other")]);
    world.now += 60_000;
    let mut found = |filter: Value| {
        let body = json!({ "filterGroups": [{ "filters": [filter] }] });
        let (_, answer) = post(&mut world, "/crm/v3/objects/contacts/search", &body);
        answer["results"].as_array().map_or(0, |rows| rows.iter().filter(|row| row["id"] == id.as_str()).count())
    };
    for (filter, count) in [
        (json!({ "propertyName": "country", "operator": "EQ", "value": "nl" }), 1),
        (json!({ "propertyName": "country", "operator": "IN", "values": ["nl"] }), 1),
        (json!({ "propertyName": "country", "operator": "IN", "values": ["NL"] }), 0),
        (json!({ "propertyName": "hs_lead_status", "operator": "IN", "values": ["NEW"] }), 1),
        (json!({ "propertyName": "hs_lead_status", "operator": "EQ", "value": "new" }), 0),
        (json!({ "propertyName": "hs_object_id", "operator": "GT", "value": "9" }), 1),
        (json!({ "propertyName": "email", "operator": "HAS_PROPERTY" }), 1),
        (json!({ "propertyName": "email", "operator": "NOT_HAS_PROPERTY" }), 0),
        (json!({ "propertyName": "email", "operator": "CONTAINS_TOKEN", "value": "*@example.com" }), 1),
        (json!({ "propertyName": "createdate", "operator": "BETWEEN", "value": "2020-01-01", "highValue": "2100-01-01T00:00:00Z" }), 1),
    ] {
        assert_eq!(found(filter.clone()), count, "{filter}");
    }
}

/// Breaks when the limits are kinder than HubSpot's, or search carries the others' headers.
#[test]
fn the_limits_roll() {
    let mut world = World::new();
    let one = |world: &mut World, method: Method, path: &str| {
        let token = world.sandbox.token(world.now);
        call(world.sandbox.as_mut(), method, path, &token, "{}", world.now)
    };
    for left in (0..110).rev() {
        let answer = one(&mut world, Method::Get, "/crm/v3/objects/contacts");
        assert_eq!(answer.header("x-hubspot-ratelimit-remaining"), Some(left.to_string().as_str()));
        world.now += 10;
    }
    let refused = one(&mut world, Method::Get, "/crm/v3/objects/contacts");
    assert_eq!((refused.status, &value(&refused)["policyName"]), (429, &json!("TEN_SECONDLY_ROLLING")));
    let search = one(&mut world, Method::Post, "/crm/v3/objects/contacts/search");
    assert!(search.status == 200 && search.header("x-hubspot-ratelimit-max").is_none(), "search is counted apart");
    for _ in 0..4 {
        one(&mut world, Method::Post, "/crm/v3/objects/contacts/search");
    }
    let refused = one(&mut world, Method::Post, "/crm/v3/objects/contacts/search");
    assert_eq!((refused.status, &value(&refused)["category"]), (429, &json!("RATE_LIMITS")));
    world.now += 10_000 - 1_100;
    assert_eq!(one(&mut world, Method::Get, "/crm/v3/objects/contacts").status, 200, "the oldest call has left the window");
    assert_eq!(one(&mut world, Method::Get, "/crm/v3/objects/contacts").status, 429, "and only that one");
    assert_eq!(world.sandbox.stats().throttled, 3);
    world.now += 60_000;
    let until = world.now + 3_600_000;
    world.sandbox.inject(Fault::DailyQuota { until });
    assert_eq!(value(&one(&mut world, Method::Get, "/crm/v3/objects/contacts"))["policyName"], "DAILY");
    world.now = until;
    assert_eq!(one(&mut world, Method::Get, "/crm/v3/objects/contacts").status, 200);
}

/// Breaks when a batch is kinder to bad input than HubSpot.
#[test]
fn batches_fail_as_at_hubspot() {
    let mut world = World::new();
    let held = world.person(&[("email", "held@example.com")]);
    let contact = |email: &str| json!({ "properties": { "email": email } });
    let create = "/crm/objects/2026-09/contacts/batch/create";
    let (status, body) = post(&mut world, create, &json!({ "inputs": [contact("new@example.com"), contact("held@example.com")] }));
    assert_eq!((status, &body["category"]), (409, &json!("CONFLICT")));
    assert_eq!(body["message"], format!("Contact already exists. Existing ID: {held}"));
    assert_eq!(world.contacts(), 1, "without trace ids all or nothing");
    let traced = |trace: &str, email: &str| json!({ "objectWriteTraceId": trace, "properties": { "email": email } });
    let (status, body) = post(&mut world, create, &json!({ "inputs": [traced("1", "new@example.com"), traced("2", "held@example.com")] }));
    assert_eq!((status, &body["errors"][0]["context"]["objectWriteTraceId"][0]), (207, &json!("2")));
    let upsert = "/crm/objects/2026-09/contacts/batch/upsert";
    let by = |name: &str, id: &str, email: &str| json!({ "id": id, "idProperty": name, "properties": { "email": email } });
    let twice = json!({ "inputs": [by(MARKER, "m1", "same@example.com"), by(MARKER, "m2", "Same@example.com")] });
    assert_eq!(post(&mut world, upsert, &twice).0, 400, "one address twice fails the batch");
    let by_email = json!({ "inputs": [by("email", "x@example.com", "x@example.com"), by("email", "bad", "bad")] });
    assert_eq!(post(&mut world, upsert, &by_email).0, 400, "by email there are no partial results");
    let not_unique = json!({ "inputs": [by("company", "Acme", "y@example.com")] });
    assert_eq!(post(&mut world, upsert, &not_unique).0, 400);
    let many: Vec<Value> = (0..101).map(|i| by(MARKER, &format!("m{i}"), &format!("p{i}@example.com"))).collect();
    assert_eq!(post(&mut world, upsert, &json!({ "inputs": many })).0, 400, "101 inputs");
    assert_eq!(world.contacts(), 2);
}

/// Breaks when a forgotten address can come back, or forgetting a person leaves the record.
#[test]
fn forgetting_an_unknown_address_blocks_it() {
    let mut world = World::new();
    let forget = |world: &mut World, body: Value| post(world, "/crm/objects/2026-09/contacts/gdpr-delete", &body).0;
    let id = world.person(&[("email", "a@example.com")]);
    assert_eq!(forget(&mut world, json!({ "objectId": id })), 204);
    assert_eq!(world.contacts(), 0);
    world.person(&[("email", "a@example.com")]);
    assert_eq!(forget(&mut world, json!({ "objectId": "never@example.com", "idProperty": "email" })), 204);
    let fields = fields(&[("email", "Never@example.com")]);
    assert!(world.sandbox.act(Act::Create { object: "contact".into(), fields }, world.now).is_err());
}

/// Breaks when a merged record keeps an old id, or loses an address, a link or a way back.
#[test]
fn a_merge_makes_a_new_record() {
    let mut world = World::new();
    let (kept, lost) = (world.person(&[("email", "kept@example.com")]), world.person(&[("email", "lost@example.com"), ("city", "Gouda")]));
    let deal = world.act(Act::Convert { object: "contact".into(), id: lost.clone(), fields: fields(&[("amount", "5")]) });
    let (_, merged) = post(&mut world, "/crm/v3/objects/contacts/merge", &json!({ "primaryObjectId": kept, "objectIdToMerge": lost }));
    let new = merged["id"].as_str().expect("an id").to_owned();
    assert!(new != kept && new != lost);
    for name in [&kept, &lost, "lost@example.com?idProperty=email&x="] {
        let joint = if name.contains('?') { '&' } else { '?' };
        let path = format!("/crm/v3/objects/contacts/{name}{joint}properties=city,email,hs_merged_object_ids&associations=deals");
        let answer = value(&world.send(Method::Get, &path, b"").expect("answered"));
        assert_eq!((&answer["id"], &answer["properties"]["city"]), (&json!(new), &json!("Gouda")), "{path}");
        assert_eq!(answer["properties"]["email"], "kept@example.com");
        assert_eq!(answer["properties"]["hs_merged_object_ids"], format!("{kept};{lost}"));
        assert_eq!(answer["associations"]["deals"]["results"][0]["id"], deal.as_str());
    }
}

/// Breaks when a lead can stand without its contact, or a stage moves back by API.
#[test]
fn leads_and_stages_have_their_rules() {
    let mut world = World::new();
    let contact = world.person(&[("email", "a@example.com"), ("lifecyclestage", "customer")]);
    let lead = json!({ "properties": { "hs_lead_name": "A" } });
    assert_eq!(post(&mut world, "/crm/objects/2026-09/0-136", &lead).0, 400);
    let types = json!([{ "associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 578 }]);
    let linked = json!({ "properties": { "hs_lead_name": "A" }, "associations": [{ "to": { "id": contact }, "types": types }] });
    let (status, made) = post(&mut world, "/crm/objects/2026-09/leads", &linked);
    assert_eq!((status, &made["properties"]["hs_lead_name"]), (201, &json!("A")));
    let stage = |world: &mut World, value: &str| {
        let body = json!({ "properties": { "lifecyclestage": value } }).to_string();
        let path = format!("/crm/v3/objects/contacts/{contact}?");
        let answer = world.send(Method::Patch, &path, body.as_bytes()).expect("answered");
        self::value(&answer)["properties"]["lifecyclestage"].clone()
    };
    assert_eq!(stage(&mut world, "lead"), "customer", "back only by way of nothing");
    assert_eq!(stage(&mut world, ""), "");
    assert_eq!(stage(&mut world, "lead"), "lead");
    world.act(Act::Delete { object: "contact".into(), id: contact.clone() });
    assert!(world.sandbox.records("lead").is_empty());
}

/// Breaks when a form needs a token, makes twins, or is not told apart from a person.
#[test]
fn a_visitor_sends_a_form() {
    let mut world = World::new();
    let details = value(&world.send(Method::Get, "/account-info/v3/details", b"").expect("answered"));
    let path = format!("/submissions/v3/integration/submit/{}/some-form", details["portalId"]);
    for city in ["Gouda", "Delft"] {
        let fields: Vec<Value> = [("email", "v@example.com"), ("city", city)]
            .iter()
            .map(|(n, v)| json!({ "objectTypeId": "0-1", "name": n, "value": v }))
            .collect();
        let sent = call(world.sandbox.as_mut(), Method::Post, &path, "", &json!({ "fields": fields }).to_string(), world.now);
        assert_eq!(sent.status, 200);
    }
    let records = world.sandbox.records("contact");
    assert_eq!(records.len(), 1);
    assert_eq!((&records[0].fields["city"], &records[0].fields["hs_object_source"]), (&json!("Delft"), &json!("FORM")));
    assert!(!records[0].made_by_api);
}

/// Breaks when a fork and its origin share anything, or one seed gives two worlds.
#[test]
fn a_fork_goes_its_own_way() {
    let mut world = World::new();
    world.person(&[("email", "a@example.com")]);
    let mut fork = world.sandbox.fork();
    fork.act(Act::Create { object: "contact".into(), fields: fields(&[("email", "b@example.com")]) }, world.now).expect("made");
    assert_eq!((fork.records("contact").len(), world.contacts()), (2, 1));
    let id = |sandbox: &mut dyn Sandbox| {
        sandbox.act(Act::Create { object: "contact".into(), fields: fields(&[("email", "c@example.com")]) }, START)
    };
    assert_eq!(id(&mut HubSpotSandbox::new(9)), id(&mut HubSpotSandbox::new(9)));
    assert_ne!(id(&mut HubSpotSandbox::new(9)), id(&mut HubSpotSandbox::new(10)));
}

/// Breaks when a late change is visible to some reads, or an unseen one to any.
#[test]
fn lag_hides_changes_and_nothing_else() {
    let mut world = World::new();
    let id = world.person(&[("email", "a@example.com"), ("city", "Old")]);
    world.now += 60_000;
    world.change(&id, &[("city", "New")]);
    let read = |world: &mut World| {
        let path = format!("/crm/v3/objects/contacts/{id}?properties=city");
        value(&world.send(Method::Get, &path, b"").expect("answered"))["properties"]["city"].clone()
    };
    let search = |world: &mut World| {
        let body = json!({ "properties": ["city"] });
        post(world, "/crm/v3/objects/contacts/search", &body).1["results"][0]["properties"]["city"].clone()
    };
    assert_eq!((read(&mut world), search(&mut world)), (json!("New"), json!("Old")), "only the index runs behind");
    world.now += 10_000;
    assert_eq!(search(&mut world), "New");
    world.sandbox.inject(Fault::CommitLag { ms: 60_000 });
    assert_eq!((read(&mut world), search(&mut world)), (json!("Old"), json!("Old")));
    world.now += 60_000;
    assert_eq!((read(&mut world), search(&mut world)), (json!("New"), json!("New")));
}

/// Breaks when the surroundings of a record are missing: pipelines, owners, groups, links.
#[test]
fn the_surroundings_answer() {
    let mut world = World::new();
    let contact = world.person(&[("email", "a@example.com")]);
    let deal = world.act(Act::Create { object: "deal".into(), fields: fields(&[("dealname", "Big"), ("dealstage", "contractsent")]) });
    let put = format!("/crm/objects/2026-09/contacts/{contact}/associations/default/deals/{deal}");
    assert_eq!(world.send(Method::Put, &put, b"").expect("answered").status, 200);
    let mut get = |path: &str| value(&world.send(Method::Get, path, b"").expect("answered"));
    assert_eq!(get("/crm/pipelines/2026-09/deals")["results"][0]["stages"][5]["metadata"]["isClosed"], "true", "a text, not a boolean");
    assert_eq!(get("/crm/owners/2026-09?email=sam@sandbox.example")["results"][0]["userId"], 4712);
    assert_eq!(get("/crm/v3/properties/deals/hs_is_closed_won")["calculated"], true);
    assert_eq!(get(&format!("/crm/v4/objects/contacts/{contact}/associations/deals"))["results"][0]["toObjectId"].to_string(), deal);
    assert_eq!(
        get(&format!("/crm/objects/2026-09/contacts/{contact}?properties=num_associated_deals"))["properties"]["num_associated_deals"],
        "1"
    );
    assert_eq!(get("/crm/objects/2027-09/contacts")["category"], "NOT_FOUND", "a version that is not out yet");
}
