//! decide: not written yet.
