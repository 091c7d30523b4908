//! Agreements as typed data: not written yet.
