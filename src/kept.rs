//! What a file says, read from its text when it is first asked for: most of what thousands of partners wrote is not needed
//! at any one time, and its text is much the smaller.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A text that was read once without an error, and what it says. A clone is at rest.
pub struct Kept<T> {
    text: Arc<str>,
    read: fn(&str) -> T,
    value: OnceLock<Box<T>>,
}

impl<T> Kept<T> {
    /// A text and what `read` has made of it.
    pub fn new(text: Arc<str>, read: fn(&str) -> T, value: T) -> Self {
        Self { text, read, value: OnceLock::from(Box::new(value)) }
    }

    /// Forgets what the text says until it is asked for again.
    pub fn rest(&mut self) {
        self.value.take();
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.get_or_init(|| Box::new((self.read)(&self.text)))
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), read: self.read, value: OnceLock::new() }
    }
}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<T: fmt::Debug> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when what is at rest cannot be asked any more, or says something else afterwards.
    #[test]
    fn what_is_at_rest_is_read_again() {
        let mut kept = Kept::new("12".into(), |text| text.parse::<u32>().unwrap_or_default(), 12);
        let clone = kept.clone();
        kept.rest();
        assert_eq!((*kept, *clone), (12, 12));
    }
}
