//! The operator's pages.

pub(super) mod connections;
pub(super) mod lead;
pub(super) mod leads;
pub(super) mod login;
pub(super) mod overview;
mod trace;

use serde::Deserialize;

use super::Web;
use super::auth::Operator;
use super::error::WebError;
use crate::clock::Millis;
use crate::model::Lead;
use crate::people::{self, Keys};
use crate::store::views::Before;

/// What every page of the operator has around its content.
pub struct Frame {
    /// Which of the pages it is.
    pub here: &'static str,
    /// The operator.
    pub operator: Operator,
    /// Whether there is a session to end.
    pub session: bool,
}

impl Frame {
    fn new(web: &Web, here: &'static str, operator: Operator) -> Self {
        Self { here, operator, session: web.has_password() }
    }
}

/// What a list may be asked for.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    /// Only changes that ended so; empty = all.
    #[serde(default)]
    pub outcome: String,
    /// Where to go on, as [`key`] wrote it.
    #[serde(default)]
    pub before: String,
}

impl Asked {
    fn before(&self) -> Result<Before, WebError> {
        if self.before.is_empty() {
            return Ok(Before::default());
        }
        let parsed = self.before.split_once('_').and_then(|(at, id)| Some(Before { at: at.parse().ok()?, id: id.to_owned() }));
        parsed.ok_or_else(|| {
            WebError::new(
                axum::http::StatusCode::BAD_REQUEST,
                "bad_request",
                "This list does not go on from there. Start at its beginning.",
            )
        })
    }
}

/// Where a list goes on after a row.
fn key(at: Millis, id: &str) -> String {
    format!("{at}_{id}")
}

/// Opens a stored lead; `None` when the person was erased, or it cannot be read.
fn open(web: &Web, person: &str, data_key: Option<&str>, id: &str, data: Option<&str>) -> Option<Lead> {
    let (data_key, data) = data_key.zip(data)?;
    let mut keys = Keys::default();
    let opened = keys.add(&web.ctx().vault, person, data_key).and_then(|()| keys.open(person, people::lead_place(id), data));
    opened.unwrap_or_else(|error| {
        tracing::error!(lead = id, %error, "a lead does not open");
        None
    })
}
