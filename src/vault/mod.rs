//! vault: not written yet.
