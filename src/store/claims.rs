//! Counted claims: what stops the daemon again and again is found among what merely was at hand when it stopped.

/// Claims after which something is worked on alone: the claims after that are its own doing.
const ALONE_AFTER: i64 = 2;
/// Claims without an end after which something is set aside: five of them alone.
pub const MAX_CLAIMS: i64 = ALONE_AFTER + 5;

/// Splits what was claimed into what is to be worked on now, and what is to be given back: once something was claimed
/// too often without an end, it is worked on alone. Whoever was in a batch with it, or with a power cut, is not blamed; of
/// several, the least suspect is first, so that one daemon killed after the other does not count against one of them.
pub fn alone<T>(mut claimed: Vec<T>, claims: impl Fn(&T) -> i64) -> (Vec<T>, Vec<T>) {
    let suspects = claimed.iter().enumerate().filter(|(_, item)| claims(item) > ALONE_AFTER);
    match suspects.min_by_key(|(_, item)| claims(item)).map(|(at, _)| at) {
        Some(suspect) => (vec![claimed.swap_remove(suspect)], claimed),
        None => (claimed, Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a batch is blamed for one of its items, or an item is never tried alone.
    #[test]
    fn a_suspect_is_worked_on_alone() {
        assert_eq!(alone(vec![1, 2, 1], |claims| *claims), (vec![1, 2, 1], vec![]));
        let (now, back) = alone(vec![1, 4, 2, 3, 5], |claims| *claims);
        assert_eq!((now, back.len()), (vec![3], 4));
        assert_eq!(alone(vec![MAX_CLAIMS + 1], |claims| *claims), (vec![MAX_CLAIMS + 1], vec![]));
    }
}
