//! What many connections have alike is kept once: with ten thousand of them the app and the budgets of a vendor would else be there
//! ten thousand times.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// So many different ones are remembered: connections that have something alike mostly stand together.
const LATELY: usize = 8;

/// The last few values, to be shared by those who have the same.
pub struct Alike<T: ?Sized>(Mutex<VecDeque<Arc<T>>>);

impl<T: PartialEq + ?Sized> Alike<T> {
    /// None yet.
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    /// The value, shared where it was had before.
    pub fn of(&self, value: Arc<T>) -> Arc<T> {
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = lately.iter().find(|known| **known == value) {
            return same.clone();
        }
        lately.push_front(value.clone());
        lately.truncate(LATELY);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when every connection keeps its own copy, or one gets what is another's.
    #[test]
    fn the_same_is_there_once() {
        let alike = Alike::<str>::new();
        let (one, again, other) = (alike.of("a".into()), alike.of("a".into()), alike.of("b".into()));
        assert!(Arc::ptr_eq(&one, &again));
        assert_eq!((&*one, &*other), ("a", "b"));
    }
}
