//! mapping: not written yet.
