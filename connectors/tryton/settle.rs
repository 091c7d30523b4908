//! After a create of unknown outcome: whether it is there. And taking a lead away again.

use serde_json::{Value, json};

use super::script::{Out, Script};
use super::wire::{OPPORTUNITY, PARTY, Rest, answer, id_of, rows};
use crate::sdk::{Doubt, Effect, Fields, Heard, ItemKey, ItemResult, Made, Output, Step, TalkFault};

/// Looks for the markers of creates in doubt. Where a late commit left a second opportunity with
/// the same marker, the one that is known is kept, else one that somebody has touched, else the oldest; the others are
/// taken away unless somebody has touched them.
pub struct Settle {
    rest: Rest,
    items: Vec<Doubt>,
    twins: Vec<(ItemKey, i64)>,
}

/// What an ask of [`Settle`] was for.
pub enum Sought {
    /// Opportunities with the markers.
    Marked,
    /// Cancelling a twin, so that it can be deleted.
    Cancel(ItemKey, i64),
    /// Deleting it.
    Delete,
}

impl Settle {
    /// Settles these doubts.
    pub fn new(rest: Rest, items: Vec<Doubt>) -> Self {
        Self { rest, items, twins: Vec::new() }
    }

    fn next_twin(&mut self, out: &mut Out<Sought>) {
        match self.twins.pop() {
            Some((key, id)) => {
                let cancel = self.rest.press(OPPORTUNITY, id, "cancel");
                out.ask(Sought::Cancel(key.clone(), id), cancel, Effect::Keyed(vec![key]));
            }
            None => out.done(Output::Done),
        }
    }
}

impl Script for Settle {
    type Want = Sought;

    fn start(&mut self, out: &mut Out<Sought>) {
        let markers: Vec<&str> = self.items.iter().map(|d| d.marker.as_str()).collect();
        let fields = ["id", "reference", "state", "write_date"].map(str::to_owned);
        out.ask(Sought::Marked, self.rest.search(OPPORTUNITY, &json!([["reference", "in", markers]]), &fields, 0), Effect::Read);
    }

    fn heard(&mut self, want: Sought, what: Heard<'_>, out: &mut Out<Sought>) {
        match want {
            Sought::Marked => {
                let rows = match rows("looking for our marker", what) {
                    Ok(rows) => rows,
                    Err(fault) => return out.fail(fault),
                };
                for doubt in &self.items {
                    let marked = rows.iter().filter(|r| r.get("reference").and_then(Value::as_str) == Some(&doubt.marker));
                    let mut marked: Vec<(i64, bool)> = marked.filter_map(|row| Some((id_of(row)?, untouched(row)))).collect();
                    marked.sort_by_key(|(id, untouched)| (doubt.known != Some(id.to_string()), *untouched, *id));
                    let mut marked = marked.into_iter();
                    let result = match marked.next() {
                        Some((id, _)) => ItemResult::Written { id: id.to_string(), made: Made::Created, shadow: Fields::new() },
                        None => ItemResult::Gone,
                    };
                    self.twins.extend(marked.filter(|(_, untouched)| *untouched).map(|(id, _)| (doubt.key.clone(), id)));
                    out.push(Step::Item(doubt.key.clone(), result));
                }
                self.next_twin(out);
            }
            Sought::Cancel(key, id) => match what {
                Heard::Answer(response) if response.is_success() => {
                    out.ask(Sought::Delete, self.rest.delete(OPPORTUNITY, id), Effect::Keyed(vec![key]));
                }
                _ => self.next_twin(out),
            },
            Sought::Delete => self.next_twin(out),
        }
    }
}

/// Whether nobody has done anything with an opportunity.
fn untouched(row: &Value) -> bool {
    row.get("state").and_then(Value::as_str) == Some("lead") && row.get("write_date").is_some_and(Value::is_null)
}

/// Takes away a lead that we made: the opportunity, and the party when it is ours alone. Tryton
/// deletes only cancelled opportunities. The opportunity goes last: it is what leads to the party.
pub struct Erase {
    rest: Rest,
    id: i64,
    /// Our party, once known.
    party: Option<i64>,
    state: String,
}

/// What an ask of [`Erase`] was for.
pub enum Taken {
    /// The lead as it is.
    Lead,
    /// How many other opportunities the party has.
    Others,
    /// The opportunity back from lost to lead, from where it can be cancelled.
    Reopened,
    /// The opportunity cancelled.
    Cancelled,
    /// The party deleted.
    Party,
    /// The opportunity deleted.
    Opportunity,
}

impl Erase {
    /// Takes away this opportunity.
    pub fn new(rest: Rest, id: i64) -> Self {
        Self { rest, id, party: None, state: String::new() }
    }

    fn press(&self, want: Taken, button: &str, out: &mut Out<Taken>) {
        out.ask(want, self.rest.press(OPPORTUNITY, self.id, button), Effect::Keyed(vec![]));
    }

    /// The party goes as early as Tryton lets it: where it is in use, nothing has been changed yet.
    /// An opportunity in the state of that name must have one, and is cancelled before.
    fn next(&self, out: &mut Out<Taken>) {
        match (self.state.as_str(), self.party) {
            ("opportunity", _) => self.press(Taken::Cancelled, "cancel", out),
            (_, Some(party)) => out.ask(Taken::Party, self.rest.delete(PARTY, party), Effect::Keyed(vec![])),
            ("lost", None) => self.press(Taken::Reopened, "lead", out),
            ("cancelled", None) => out.ask(Taken::Opportunity, self.rest.delete(OPPORTUNITY, self.id), Effect::Keyed(vec![])),
            (_, None) => self.press(Taken::Cancelled, "cancel", out),
        }
    }
}

fn kept(code: &str, message: &str) -> TalkFault {
    TalkFault { code: code.into(), message: message.into(), passing: false }
}

/// Whether Tryton did it, or it was done already; else why not.
fn done(what: &str, heard: Heard<'_>, refused: TalkFault) -> Result<(), TalkFault> {
    match heard {
        Heard::Answer(response) if response.is_success() || response.status == 404 => Ok(()),
        Heard::Answer(response) if response.status < 500 && response.status != 401 => Err(refused),
        other => answer(what, other).map(drop),
    }
}

impl Script for Erase {
    type Want = Taken;

    fn start(&mut self, out: &mut Out<Taken>) {
        let fields = ["state", "reference", "party.code"].map(str::to_owned);
        out.ask(Taken::Lead, self.rest.search(OPPORTUNITY, &json!([["id", "=", self.id]]), &fields, 1), Effect::Read);
    }

    fn heard(&mut self, want: Taken, what: Heard<'_>, out: &mut Out<Taken>) {
        let in_use = || kept("party_in_use", "the party has other opportunities, sales or invoices by now: a person there must decide");
        let next = match want {
            Taken::Lead => rows("reading the lead", what).map(|rows| {
                let Some(row) = rows.first() else { return out.done(Output::Done) };
                let text = |v: Option<&Value>| v.and_then(Value::as_str).unwrap_or_default().to_owned();
                self.state = text(row.get("state"));
                if self.state == "converted" || self.state == "won" {
                    return out.fail(kept("has_sale", "the lead has become a sale, which Tryton keeps: a person there must decide"));
                }
                let marker = text(row.get("reference"));
                let party = row.get("party").filter(|p| !marker.is_empty() && text(p.get("code")) == marker);
                match party.and_then(id_of) {
                    Some(party) => {
                        self.party = Some(party);
                        let domain = json!([["party", "=", party], ["id", "!=", self.id]]);
                        out.ask(Taken::Others, self.rest.call(OPPORTUNITY, "search_count", &json!({"domain": domain})), Effect::Read);
                    }
                    None => self.next(out),
                }
            }),
            Taken::Others => match answer("counting the party's opportunities", what) {
                Ok(count) if count.as_i64() == Some(0) => {
                    self.next(out);
                    Ok(())
                }
                Ok(_) => Err(in_use()),
                Err(fault) => Err(fault),
            },
            Taken::Reopened => done("reopening the lead", what, kept("not_erased", "Tryton refused to reopen the lead")).map(|()| {
                self.state = "lead".into();
                self.next(out);
            }),
            Taken::Cancelled => done("cancelling the lead", what, kept("not_erased", "Tryton refused to cancel the lead")).map(|()| {
                self.state = "cancelled".into();
                self.next(out);
            }),
            Taken::Party => done("deleting the party", what, in_use()).map(|()| {
                self.party = None;
                self.next(out);
            }),
            Taken::Opportunity => {
                done("deleting the lead", what, kept("not_erased", "Tryton refused to delete the lead")).map(|()| out.done(Output::Done))
            }
        };
        if let Err(fault) = next {
            out.fail(fault);
        }
    }
}
