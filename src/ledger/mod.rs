//! ledger: not written yet.
