//! delivery: not written yet.
