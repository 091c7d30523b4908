//! program: not written yet.
