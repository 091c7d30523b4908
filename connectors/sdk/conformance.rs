//! The cases that every connector must pass against its own sandbox: not written yet.
