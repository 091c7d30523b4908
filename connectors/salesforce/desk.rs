//! What a talk still has to say and to hear.

use std::collections::{BTreeMap, VecDeque};

use super::wire::COST;
use crate::sdk::{Ask, Effect, Request, Step, Tag, TalkFault};

/// Steps to be taken, and what each open ask was for.
pub struct Desk<T> {
    steps: VecDeque<Step>,
    open: BTreeMap<Tag, T>,
    last: Tag,
}

impl<T> Desk<T> {
    /// Nothing to say yet.
    pub fn new() -> Self {
        Self { steps: VecDeque::new(), open: BTreeMap::new(), last: 0 }
    }

    /// Asks; the answer finds back to `meaning`.
    pub fn ask(&mut self, request: Request, effect: Effect, meaning: T) {
        self.last += 1;
        self.open.insert(self.last, meaning);
        self.steps.push_back(Step::Ask(Ask { tag: self.last, request, effect, cost: vec![COST] }));
    }

    /// Asks for something that changes nothing.
    pub fn read(&mut self, request: Request, meaning: T) {
        self.ask(request, Effect::Read, meaning);
    }

    /// Says something.
    pub fn say(&mut self, step: Step) {
        self.steps.push_back(step);
    }

    /// Ends the talk badly: whatever was still to be said is not said.
    pub fn fail(&mut self, fault: TalkFault) {
        self.steps.clear();
        self.open.clear();
        self.steps.push_back(Step::Failed(fault));
    }

    /// What the answered ask was for; `None` for one that was never asked, or of a failed talk.
    pub fn heard(&mut self, tag: Tag) -> Option<T> {
        self.open.remove(&tag)
    }

    /// Whether every ask was answered.
    pub fn all_heard(&self) -> bool {
        self.open.is_empty()
    }

    /// The next step.
    pub fn step(&mut self) -> Step {
        self.steps.pop_front().unwrap_or(Step::Wait)
    }
}
