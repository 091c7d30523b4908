//! One symmetric key of 32 bytes, and what is done with it directly.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use leadshare_connectors::sdk::signature::hmac_sha256;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};

use crate::clock::Clock;
use crate::errors::{Error, Result};

const NONCE: usize = 24;
const ANY_PADDING: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const B64: GeneralPurpose = general_purpose::URL_SAFE_NO_PAD;

/// A key of 32 bytes. Wiped from memory when dropped; `Debug` shows nothing of it.
pub struct Key(SecretBox<[u8; 32]>);

impl Key {
    /// A key from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    /// A key from base64, standard or URL-safe, padded or not.
    ///
    /// # Errors
    /// [`Error::Vault`] when it is not base64 of exactly 32 bytes; the text is not shown.
    pub fn from_base64(text: &str) -> Result<Self> {
        let text = text.trim();
        let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
        let bytes = GeneralPurpose::new(alphabet, ANY_PADDING)
            .decode(text)
            .map(Zeroizing::new)
            .map_err(|_| Error::Vault("the key is not base64; make one with `openssl rand -base64 32`".to_owned()))?;
        let bytes = <[u8; 32]>::try_from(bytes.as_slice())
            .map_err(|_| Error::Vault(format!("the key has {} bytes, not 32; make one with `openssl rand -base64 32`", bytes.len())))?;
        Ok(Self::from_bytes(bytes))
    }

    /// A key that nobody knows.
    ///
    /// # Errors
    /// [`Error::Vault`] when the system has no randomness to give.
    pub fn generate(clock: &Clock) -> Result<Self> {
        clock.secret().map(Self::from_bytes).map_err(no_randomness)
    }

    /// The key as it is written into a configuration or a credential.
    pub fn to_base64(&self) -> SecretString {
        general_purpose::STANDARD.encode(self.bytes()).into()
    }

    /// The 32 bytes.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    /// HMAC-SHA-256 over parts that cannot run into each other; the first names the use.
    pub(super) fn mac(&self, parts: &[&str]) -> [u8; 32] {
        hmac_sha256(self.bytes(), &[framed(parts).as_slice()])
    }

    /// A short value that tells this key from others without telling what it is.
    pub(super) fn check(&self) -> String {
        hex::encode(&self.mac(&["leadshare key check v1"])[..8])
    }

    /// Nonce and ciphertext as base64.
    pub(super) fn encrypt(&self, clock: &Clock, aad: &[&str], plain: &[u8]) -> Result<String> {
        let nonce: [u8; NONCE] = clock.secret().map_err(no_randomness)?;
        let payload = Payload { msg: plain, aad: &framed(aad) };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::Vault("a value is too large to be sealed".to_owned()))?;
        Ok(B64.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// The inverse; `None` when the text was altered, or belongs elsewhere, or to another key.
    pub(super) fn decrypt(&self, aad: &[&str], text: &str) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = B64.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: &framed(aad) };
        self.cipher().decrypt(&XNonce::from(*nonce), payload).ok().map(Zeroizing::new)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.bytes().into())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Parts with their lengths in front, so that `ab, c` and `a, bc` differ.
fn framed(parts: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|p| p.len() + 8).sum());
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out
}

fn no_randomness(error: getrandom::Error) -> Error {
    Error::Vault(format!("the system gives no randomness: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a key that `openssl rand -base64 32` printed is refused.
    #[test]
    fn keys_are_read_in_every_common_form_of_base64() {
        let key = Key::from_bytes([0xFB; 32]);
        let padded = key.to_base64();
        let padded = padded.expose_secret();
        for text in
            [padded.to_owned(), format!("{padded}\n"), padded.trim_end_matches('=').to_owned(), padded.replace('+', "-").replace('/', "_")]
        {
            assert_eq!(Key::from_base64(&text).expect("a key").bytes(), key.bytes());
        }
    }

    // Breaks when a wrong key's text, or no hint, is in the message.
    #[test]
    fn a_wrong_key_is_refused_without_being_shown() {
        for text in ["not-a-key!", "c2hvcnQ=", ""] {
            let message = Key::from_base64(text).expect_err("refused").to_string();
            assert!(message.contains("openssl rand -base64 32"), "{message}");
            assert!(text.is_empty() || !message.contains(text), "{message}");
        }
    }

    // Breaks when two different lists of parts are hashed, or authenticated, as the same bytes.
    #[test]
    fn parts_do_not_run_into_each_other() {
        let key = Key::from_bytes([1; 32]);
        assert_ne!(key.mac(&["ab", "c"]), key.mac(&["a", "bc"]));
        assert_ne!(key.mac(&["a", ""]), key.mac(&["a"]));
    }
}
