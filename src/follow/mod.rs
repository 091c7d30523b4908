//! follow: not written yet.
