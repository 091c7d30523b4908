//! Rate limits: rolling windows, their headers and their 429 bodies.

use std::collections::VecDeque;

use serde_json::json;

use crate::sdk::{Millis, Response};

const GENERAL: usize = 110;
const GENERAL_WINDOW: Millis = 10_000;
const SEARCH: usize = 5;
const SEARCH_WINDOW: Millis = 1_000;

/// Which limit a request counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    General,
    Search,
}

/// What was spent lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits {
    general: VecDeque<Millis>,
    search: VecDeque<Millis>,
    pub daily_until: Millis,
}

impl Limits {
    /// Spends one request; a refusal is not counted.
    pub fn spend(&mut self, lane: Lane, now: Millis) -> Result<(), &'static str> {
        if now < self.daily_until {
            return Err("DAILY");
        }
        let (spent, most, window, policy) = match lane {
            Lane::General => (&mut self.general, GENERAL, GENERAL_WINDOW, "TEN_SECONDLY_ROLLING"),
            Lane::Search => (&mut self.search, SEARCH, SEARCH_WINDOW, "SECONDLY"),
        };
        while spent.front().is_some_and(|at| *at <= now - window) {
            spent.pop_front();
        }
        if spent.len() >= most {
            return Err(policy);
        }
        spent.push_back(now);
        Ok(())
    }

    /// Search answers carry no such headers.
    pub fn headers(&self, lane: Lane, response: &mut Response) {
        if lane == Lane::Search {
            return;
        }
        let left = GENERAL.saturating_sub(self.general.len());
        for (name, value) in [
            ("x-hubspot-ratelimit-max", GENERAL.to_string()),
            ("x-hubspot-ratelimit-remaining", left.to_string()),
            ("x-hubspot-ratelimit-interval-milliseconds", GENERAL_WINDOW.to_string()),
        ] {
            response.headers.push((name.into(), value));
        }
    }
}

/// A 429 in the documented form, or for search in the form that was recorded there.
pub(super) fn too_many(policy: &str, correlation: &str, retry_after: Option<u32>) -> Response {
    let message = format!("You have reached your {} limit.", policy.to_lowercase());
    let body = if policy == "SECONDLY" {
        json!({ "status": "error", "message": message, "correlationId": correlation, "category": "RATE_LIMITS" })
    } else {
        json!({ "status": "error", "message": message, "errorType": "RATE_LIMIT", "correlationId": correlation, "policyName": policy })
    };
    let mut response = Response::json(429, &body);
    if let Some(seconds) = retry_after {
        response.headers.push(("retry-after".into(), seconds.to_string()));
    }
    response
}
