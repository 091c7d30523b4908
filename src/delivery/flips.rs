//! Two systems that write to each other: a field that goes back and forth is left alone for a while, and named.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::Fields;
use serde_json::{Value, json};

use crate::clock::{HOUR, Millis};
use crate::context::Context;
use crate::errors::Result;
use crate::http::line::Line;
use crate::store::shares::Share;
use crate::store::{Tx, connections, overwrites};
use crate::vault::Identity;

/// Returns to an earlier value within [`WINDOW`] after which a field is left alone.
const MOST: usize = 3;
const WINDOW: Millis = HOUR;

/// What was lately written over our own values at one connection, and what is about to be.
pub(super) struct Flips {
    /// Hashes by person and field, oldest first.
    before: BTreeMap<(String, String), Vec<String>>,
    added: Vec<Value>,
}

impl Flips {
    /// Loads what was written to these people's records.
    pub(super) async fn load(tx: &mut Tx, ctx: &Context, line: &Line, people: &[&str]) -> Result<Self> {
        let mut before = BTreeMap::<_, Vec<String>>::new();
        if !people.is_empty() {
            let ids = Value::from(people.iter().map(|id| json!([id])).collect::<Vec<_>>());
            for (person, field, value) in overwrites::recent(tx, line.name(), &ids, ctx.clock.now() - WINDOW).await? {
                before.entry((person, field)).or_default().push(value);
            }
        }
        Ok(Self { before, added: Vec::new() })
    }

    /// Takes out of `fields` what has gone back and forth too often, and notes the rest. `held` is what we wrote before.
    pub(super) async fn judge(
        &mut self,
        tx: &mut Tx,
        ctx: &Context,
        line: &Line,
        share: &Share,
        held: &Fields,
        fields: &mut Fields,
    ) -> Result<()> {
        let hash = |value: &Value| ctx.vault.blind.hash(Identity::Domain, &value.to_string());
        let mut frozen = Vec::new();
        for (name, value) in fields.iter() {
            let Some(old) = held.get(name).filter(|old| !old.is_null()) else { continue };
            let before = self.before.entry((share.person.clone(), name.clone())).or_default();
            if before.is_empty() {
                before.push(hash(old));
                self.added.push(json!([share.person, name, 0, hash(old)]));
            }
            let new = hash(value);
            if flips(before, &new) >= MOST {
                frozen.push(name.clone());
            } else if before.last() != Some(&new) {
                self.added.push(json!([share.person, name, 1, new]));
                before.push(new);
            }
        }
        for name in frozen {
            fields.remove(&name);
            tracing::warn!(connection = line.name(), share = share.id, field = name, "a field goes back and forth and is left alone");
            let message = format!(
                "the field {name} of {} went back and forth {MOST} times within an hour: something there, or another daemon, writes it too. \
                 It is left alone for an hour; let one side alone write it",
                line.name()
            );
            let subject = format!("share:{}", share.id);
            connections::raise_alert(tx, &ctx.clock.id(), &subject, "delivery.back_and_forth", &message, ctx.clock.now()).await?;
        }
        Ok(())
    }

    /// Keeps what is about to be written.
    pub(super) async fn keep(self, tx: &mut Tx, ctx: &Context, line: &Line) -> Result<()> {
        if self.added.is_empty() {
            return Ok(());
        }
        let now = ctx.clock.now();
        overwrites::add(tx, line.name(), &Value::from(self.added), now, now - WINDOW).await
    }
}

/// How often a field has returned to an earlier value, with the new one written.
fn flips(before: &[String], new: &str) -> usize {
    let mut seen: Vec<&str> = Vec::new();
    let mut count = 0;
    for value in before.iter().map(String::as_str).chain([new]) {
        if seen.last() != Some(&value) {
            count += usize::from(seen.contains(&value));
            seen.push(value);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when somebody who edits a field often is taken for a loop, or a retry for a flip.
    #[test]
    fn only_a_return_to_an_earlier_value_is_a_flip() {
        let before = |values: &str| values.chars().map(String::from).collect::<Vec<_>>();
        assert_eq!(flips(&before("abcd"), "e"), 0);
        assert_eq!(flips(&before("ab"), "b"), 0);
        assert_eq!(flips(&before("ab"), "a"), 1);
        assert_eq!(flips(&before("abab"), "a"), 3);
    }
}
