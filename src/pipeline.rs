//! pipeline: not written yet.
