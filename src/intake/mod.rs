//! intake: not written yet.
