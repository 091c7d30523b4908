//! Decisions: not written yet.
