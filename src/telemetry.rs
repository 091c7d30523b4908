//! telemetry: not written yet.
