//! A poll repeated as the daemon does it.

use std::collections::BTreeSet;

use super::bench::{Bench, START, kind};
use super::driver::Ran;
use super::{Verdict, ensure, fail};
use crate::sdk::{Cursor, Millis, Op, Output, Record, Selection, State};

/// A poll that is repeated as the daemon does, keeping what it saw by (id, version).
pub(super) struct Poller {
    pub cursor: Option<Cursor>,
    pub from: Millis,
    pub selection: Selection,
    pub fields: Vec<String>,
    pub seen: Vec<Record>,
    known: BTreeSet<(String, String, bool)>,
}

impl Poller {
    pub fn new(bench: &Bench) -> Self {
        Self {
            cursor: None,
            from: START - 3_600_000,
            selection: Vec::new(),
            fields: vec![bench.sample.email_field.into()],
            seen: Vec::new(),
            known: BTreeSet::new(),
        }
    }

    pub fn op(&self, bench: &Bench) -> Op {
        Op::Changes {
            object: bench.sample.object.into(),
            cursor: self.cursor.clone(),
            from: self.from,
            until: bench.now - bench.manifest().poll.lag_ms,
            fields: self.fields.clone(),
            selection: self.selection.clone(),
        }
    }

    /// Polls once.
    pub fn poll(&mut self, bench: &mut Bench) -> Verdict {
        let ran = bench.run(&self.op(bench), None)?;
        self.take(&ran)
    }

    /// Takes in the pages that a poll handed over, each with the cursor that it reached.
    pub fn keep(&mut self, ran: &Ran) {
        for (records, cursor) in &ran.pages {
            for record in records {
                if self.known.insert((record.id.clone(), record.version.clone(), record.state == State::Live)) {
                    self.seen.push(record.clone());
                }
            }
            self.cursor = Some(cursor.clone());
        }
    }

    /// Takes in a poll that came to its end.
    pub fn take(&mut self, ran: &Ran) -> Verdict {
        self.keep(ran);
        match ran.output()? {
            Output::Cursor(cursor) => {
                self.cursor = Some(cursor);
                Ok(())
            }
            other => fail(format!("a poll must end in a cursor, not {}", kind(&other))),
        }
    }

    /// Polls until everything that happened so far lies behind the upper bound.
    pub fn catch_up(&mut self, bench: &mut Bench) -> Verdict {
        for _ in 0..2 {
            bench.now += bench.manifest().poll.lag_ms + bench.manifest().poll.every_ms + 2_000;
            self.poll(bench)?;
        }
        Ok(())
    }

    /// Fails unless each of these was seen alive.
    pub fn saw_all(&self, ids: &[String]) -> Verdict {
        let seen: BTreeSet<&str> = self.seen.iter().filter(|record| record.state == State::Live).map(|record| record.id.as_str()).collect();
        let lost: Vec<&String> = ids.iter().filter(|id| !seen.contains(id.as_str())).collect();
        ensure(lost.is_empty(), || format!("{} of {} records were never seen, such as {:?}", lost.len(), ids.len(), lost.first()))
    }
}
