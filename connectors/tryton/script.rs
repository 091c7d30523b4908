//! Turns a script (what to do on each answer) into a talk: keeps the steps that are due and
//! remembers what each ask was for.

use std::collections::{BTreeMap, VecDeque};

use crate::sdk::{Ask, Effect, Heard, Output, Request, Step, Tag, Talk, TalkFault};

/// What a talk does at its start and on each answer. `Want` says what an ask was for.
pub trait Script: Send {
    /// What an ask was for.
    type Want: Send;
    /// The first steps.
    fn start(&mut self, out: &mut Out<Self::Want>);
    /// The steps that follow an answer.
    fn heard(&mut self, want: Self::Want, what: Heard<'_>, out: &mut Out<Self::Want>);
}

/// Steps that are due, in order.
pub struct Out<W> {
    due: VecDeque<Step>,
    wanted: BTreeMap<Tag, W>,
    tags: Tag,
    ended: bool,
}

impl<W> Out<W> {
    /// Asks for a request.
    pub fn ask(&mut self, want: W, request: Request, effect: Effect) {
        self.tags += 1;
        self.wanted.insert(self.tags, want);
        self.due.push_back(Step::Ask(Ask { tag: self.tags, request, effect, cost: vec![("requests", 1)] }));
    }

    /// Any other step.
    pub fn push(&mut self, step: Step) {
        self.due.push_back(step);
    }

    /// The end.
    pub fn done(&mut self, output: Output) {
        self.push(Step::Done(output));
        self.ended = true;
    }

    /// The end, badly.
    pub fn fail(&mut self, fault: TalkFault) {
        self.push(Step::Failed(fault));
        self.ended = true;
    }

    /// Whether no answer is outstanding.
    pub fn quiet(&self) -> bool {
        self.wanted.is_empty()
    }
}

/// A script being played.
pub struct Played<S: Script> {
    script: S,
    out: Out<S::Want>,
    begun: bool,
}

impl<S: Script> Played<S> {
    /// Ready to begin.
    pub fn new(script: S) -> Self {
        Self { script, out: Out { due: VecDeque::new(), wanted: BTreeMap::new(), tags: 0, ended: false }, begun: false }
    }
}

impl<S: Script> Talk for Played<S> {
    fn step(&mut self) -> Step {
        if !self.begun {
            self.begun = true;
            self.script.start(&mut self.out);
        }
        self.out.due.pop_front().unwrap_or(Step::Wait)
    }

    fn heard(&mut self, tag: Tag, what: Heard<'_>) {
        let Some(want) = self.out.wanted.remove(&tag) else { return };
        if !self.out.ended {
            self.script.heard(want, what, &mut self.out);
        }
    }
}
