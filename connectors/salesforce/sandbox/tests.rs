//! The simulator against what the vendor documents.
