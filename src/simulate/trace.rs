//! What happened in a simulation, as a hash over all of it and the last lines of it.

use std::collections::VecDeque;

/// Lines that are kept to be shown.
const KEPT: usize = 80;

/// What happened.
#[derive(Debug, Clone)]
pub struct Trace {
    hash: u64,
    last: VecDeque<String>,
    /// Prints every line as it comes.
    pub loud: bool,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, last: VecDeque::new(), loud: false }
    }
}

impl Trace {
    /// Something happened.
    pub fn line(&mut self, text: &str) {
        self.also(text);
        if self.loud {
            eprintln!("{text}");
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(text.to_owned());
    }

    /// Belongs to what happened, and is not shown (FNV-1a).
    pub fn also(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> String {
        format!("{:016x}", self.hash)
    }

    /// The last lines.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
