//! oauth: not written yet.
