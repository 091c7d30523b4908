//! Signatures over raw bytes, compared in constant time.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// HMAC-SHA-256 over the parts as if they were one text.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// SHA-256 over the parts as if they were one text.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Whether a base64 text states these bytes.
pub fn base64_is(text: &str, bytes: &[u8]) -> bool {
    STANDARD.decode(text.trim()).is_ok_and(|given| bool::from(given.ct_eq(bytes)))
}

/// Whether a hex text states these bytes.
pub fn hex_is(text: &str, bytes: &[u8]) -> bool {
    hex::decode(text.trim()).is_ok_and(|given| bool::from(given.ct_eq(bytes)))
}

/// Whether two texts are the same, without telling by time where they differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    bool::from(a.ct_eq(b))
}
