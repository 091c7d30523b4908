//! A change that was taken in, and the one outcome that it ended in.

use serde::Serialize;

use crate::context::Context;
use crate::model::ChangeOutcome;
use crate::store::dirty::Dirty;

/// One change and how it ended. A change ends in exactly one outcome.
#[derive(Debug)]
pub struct Change {
    /// The hint that it answers.
    pub hint: Dirty,
    /// How it ended.
    pub outcome: ChangeOutcome,
    /// Why, in a code or in words without personal data.
    pub reason: String,
    /// The lead.
    pub lead: Option<String>,
    /// The decision.
    pub decision: Option<String>,
    /// Only we wanted it looked at, and it ended as before: the hint is finished, and nothing is kept of it.
    pub quiet: bool,
    id: std::sync::OnceLock<String>,
}

impl Change {
    /// A change that ended.
    pub fn new(hint: &Dirty, outcome: ChangeOutcome, reason: impl Into<String>, lead: Option<String>) -> Self {
        Self { hint: hint.clone(), outcome, reason: reason.into(), lead, decision: None, quiet: false, id: std::sync::OnceLock::new() }
    }

    /// Its id, made when first asked for.
    pub fn id_or(&self, ctx: &Context) -> &str {
        self.id.get_or_init(|| ctx.clock.id())
    }

    /// The row that is kept of it.
    pub fn row<'a>(&'a self, ctx: &Context) -> impl Serialize + 'a {
        // Ids of records that are not ours are not kept.
        let remote = if self.outcome == ChangeOutcome::Untracked { "" } else { &self.hint.remote_id };
        let (hint, outcome) = (&self.hint, self.outcome.word());
        (self.id_or(ctx), remote, hint.hints, hint.raised_at, outcome, &self.reason, &self.lead, &self.decision)
    }
}
