//! metrics: not written yet.
