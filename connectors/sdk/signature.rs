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

#[cfg(test)]
mod tests {
    use super::*;

    /// HMAC-SHA-256 of RFC 4231, test case 2.
    const RFC_4231: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    /// Breaks when the sum is not HMAC-SHA-256, or when it matters how a text is cut into parts.
    #[test]
    fn hmac_fits_the_published_vector_however_it_is_cut() {
        let whole: &[&[u8]] = &[b"what do ya want for nothing?"];
        let cut: &[&[u8]] = &[b"what do ya ", b"", b"want for nothing?"];
        for parts in [whole, cut] {
            assert!(hex_is(RFC_4231, &hmac_sha256(b"Jefe", parts)));
        }
        assert!(!hex_is(RFC_4231, &hmac_sha256(b"jefe", whole)));
    }

    /// Breaks when the hash is not SHA-256 (FIPS 180-4, "abc").
    #[test]
    fn sha256_fits_the_published_vector() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(hex_is(expected, &sha256(&[b"a", b"bc"])));
    }

    /// Breaks when keys of any length are not taken: vendors choose them.
    #[test]
    fn keys_of_every_length_are_taken() {
        let sums: Vec<_> = [0, 1, 64, 65, 4096].map(|length| hmac_sha256(&vec![b'k'; length], &[b"body"])).into();
        assert!(sums.iter().all(|sum| *sum != [0; 32]));
        assert!((1..sums.len()).all(|at| sums[at] != sums[at - 1]));
    }

    /// Breaks when a text that states other bytes, fewer, more, or none at all is believed.
    #[test]
    fn only_a_text_that_states_the_bytes_is_believed() {
        let bytes = [0xfb, 0xff, 0x01];
        assert!(base64_is("+/8B", &bytes) && base64_is(" +/8B\n", &bytes) && hex_is("fbff01", &bytes) && hex_is("FBFF01", &bytes));
        for text in ["", "+/8", "+/8B+/8B", "+/8C", "-_8B", "é"] {
            assert!(!base64_is(text, &bytes), "{text}");
        }
        for text in ["", "fbff", "fbff0100", "fbff02", "fbff0", "xx", "é"] {
            assert!(!hex_is(text, &bytes), "{text}");
        }
    }

    /// Breaks when comparing stops at a common beginning.
    #[test]
    fn same_means_the_same_from_end_to_end() {
        assert!(same(b"", b"") && same(b"secret", b"secret"));
        assert!(!same(b"secret", b"secre") && !same(b"secret", b"secreT") && !same(b"", b"s"));
    }
}
