//! Limits, and trouble that is arranged.

use serde_json::{Value, json};

use super::{Options, Org, code};
use crate::sdk::{Fault, Method, Sandbox};

// Breaks when requests are not counted over a rolling day, or the header states other figures.
#[test]
fn the_days_requests_are_counted() {
    let mut org = Org::with(Options { daily_requests: 3, ..Options::default() });
    assert_eq!(org.get("sobjects").header("sforce-limit-info"), Some("api-usage=1/3"));
    let limits = org.get("limits").value().unwrap();
    assert_eq!(limits["DailyApiRequests"], json!({ "Max": 3, "Remaining": 1 }));
    org.now += 3_600_000;
    assert_eq!(org.get("sobjects").header("sforce-limit-info"), Some("api-usage=3/3"));
    let refused = org.get("sobjects");
    assert_eq!((refused.status, code(&refused), refused.header("retry-after")), (403, "REQUEST_LIMIT_EXCEEDED".into(), None));
    org.now += 86_400_000 - 3_600_000 + 900_000;
    org.token = org.sandbox.token(org.now);
    assert_eq!(org.get("sobjects").header("sforce-limit-info"), Some("api-usage=2/3"));
    assert_eq!(org.sandbox.stats().throttled, 1);
}

// Breaks when arranged trouble does not come in the vendor's form, or comes too often.
#[test]
fn arranged_trouble_comes_in_the_vendors_form() {
    let mut org = Org::new();
    let body = json!({ "LastName": "Doe", "Company": "Acme" });
    org.sandbox.inject(Fault::Throttle { count: 1, retry_after: Some(9) });
    let throttled = org.api(Method::Post, "sobjects/Lead", &body);
    assert_eq!((throttled.status, throttled.header("retry-after")), (403, None));
    assert!(String::from_utf8(throttled.body).unwrap().contains("ConcurrentRequests"));
    org.sandbox.inject(Fault::Status { status: 503, count: 2 });
    for _ in 0..2 {
        assert_eq!(code(&org.api(Method::Post, "sobjects/Lead", &body)), "SERVER_UNAVAILABLE");
    }
    let until = org.now + 60_000;
    org.sandbox.inject(Fault::DailyQuota { until });
    assert!(String::from_utf8(org.get("limits").body).unwrap().contains("TotalRequests"));
    assert!(org.sandbox.records("Lead").is_empty(), "nothing was done");
    org.now = until;
    org.sandbox.inject(Fault::Truncate);
    assert!(org.get("limits").value().is_none());
    assert_eq!(org.get("limits").status, 200);
    org.sandbox.inject(Fault::ExpireAccessTokens);
    assert_eq!(org.get("limits").status, 401);
    assert_eq!(org.send(Method::Get, "/services/data/v66.0/limits", vec![], b"").unwrap().status, 401);
}

// Breaks when an unknown address or method ends in anything but the vendor's error.
#[test]
fn unknown_addresses_are_refused() {
    let mut org = Org::new();
    for path in ["nope", "sobjects/Lead/x/y/z", "composite/nope", "query/0r8-1"] {
        assert!((400..500).contains(&org.get(path).status), "{path}");
    }
    assert_eq!(org.api(Method::Post, "query?q=x", &Value::Null).status, 405);
    assert_eq!(org.api(Method::Post, "sobjects/Lead", &json!([])).status, 400);
    assert_eq!(org.api(Method::Get, "/services/data/vX/limits", &Value::Null).status, 410);
}
