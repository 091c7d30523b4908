//! http: not written yet.
