//! web: not written yet.
