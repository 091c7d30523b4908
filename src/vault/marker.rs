//! Markers: our own ids on people's records at a vendor.

use super::Key;

const PREFIX: &str = "ls1-";
const PROGRAM: usize = 7;
const HOP: usize = 5;
const HASH: usize = 20;

/// Makes and recognises markers: `ls1-<program>-<hop>-<hash>`, 38 characters of `a-z 2-7 -`.
///
/// The program's tag lets another daemon see that a record came through a program, and ours that it
/// came through this one; the hop's tag says through which connection. All three depend on nothing
/// but the program key, the connection and the identity, so that parallel creates of one person,
/// and a restored backup, arrive at the same marker.
#[derive(Debug)]
pub struct Markers {
    key: Key,
    program: String,
}

/// A marker taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker<'a> {
    /// The tag of the program that made it.
    pub program: &'a str,
    /// The tag of the connection that it was written through.
    pub hop: &'a str,
    /// The person at that connection.
    pub hash: &'a str,
}

impl<'a> Marker<'a> {
    /// Reads a marker, of whichever program; `None` for anything else.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.split('-');
        let mut part = |length: usize| parts.next().filter(|p| p.len() == length && p.bytes().all(|b| ALPHABET.contains(&b)));
        let marker = Self { program: part(PROGRAM)?, hop: part(HOP)?, hash: part(HASH)? };
        parts.next().is_none().then_some(marker)
    }
}

impl Markers {
    /// Markers under a program key, which is never changed.
    pub fn new(program_key: Key) -> Self {
        let program = tag(&program_key.mac(&["leadshare program v1"]), PROGRAM);
        Self { key: program_key, program }
    }

    /// The marker of a person at a connection. `identity` is the first identity key that the person
    /// was delivered under, normalised, with its kind in front (`email:jo@example.de`). Store it at
    /// the first delivery and never make it again from a later identity.
    pub fn make(&self, connection: &str, identity: &str) -> String {
        let hash = tag(&self.key.mac(&["leadshare marker v1", connection, identity]), HASH);
        format!("{PREFIX}{}-{}-{hash}", self.program, self.hop(connection))
    }

    /// The tag of this program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The tag of a connection.
    pub fn hop(&self, connection: &str) -> String {
        tag(&self.key.mac(&["leadshare hop v1", connection]), HOP)
    }

    /// Whether a text is a marker that this program made, through whichever connection.
    pub fn is_ours(&self, text: &str) -> bool {
        Marker::parse(text).is_some_and(|marker| marker.program == self.program)
    }

    pub(super) fn check(&self) -> String {
        self.key.check()
    }
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The first `length` characters of the bytes in base 32, five bits each.
fn tag(bytes: &[u8; 32], length: usize) -> String {
    (0..length)
        .map(|i| {
            let (byte, shift) = (i * 5 / 8, i * 5 % 8);
            let two = u16::from_be_bytes([bytes[byte], bytes[byte + 1]]);
            char::from(ALPHABET[usize::from(two >> (11 - shift)) & 31])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn markers(byte: u8) -> Markers {
        Markers::new(Key::from_bytes([byte; 32]))
    }

    // Breaks when an upgrade makes other markers: every person delivered before would be made twice.
    #[test]
    fn markers_stay_the_same_for_ever() {
        assert_eq!(markers(7).make("brightwater", "email:jo@example.de"), "ls1-lbnnu24-vsqe2-ch2rbbgws3qzy5kmy5dx");
    }

    proptest! {
        // Breaks when a marker does not fit a vendor's field, or is not recognised when it comes back.
        #[test]
        fn markers_are_short_and_recognised(connection: String, identity: String) {
            let (ours, other) = (markers(1), markers(2));
            let made = ours.make(&connection, &identity);
            prop_assert!(made.len() <= 40 && made.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(ours.is_ours(&made) && !other.is_ours(&made));
            let parsed = Marker::parse(&made).expect("a marker");
            prop_assert_eq!(parsed.program, ours.program());
            prop_assert_eq!(parsed.hop, ours.hop(&connection));
            let theirs = other.make(&connection, &identity);
            prop_assert_eq!(Marker::parse(&theirs).expect("a marker").program, other.program());
        }

        // Breaks when what somebody typed into the field passes for a marker.
        #[test]
        fn other_texts_are_not_markers(text in "(ls1-)?[a-z2-7-]{0,36}") {
            prop_assert!(!markers(1).is_ours(&text));
        }
    }

    // Breaks when two people, or one person at two connections, get one marker.
    #[test]
    fn markers_tell_people_and_connections_apart() {
        let m = markers(1);
        let one = m.make("a", "email:x");
        assert_eq!(one, m.make("a", "email:x"));
        assert_ne!(one, m.make("a", "email:y"));
        assert_ne!(one, m.make("b", "email:x"));
        assert_eq!(Marker::parse("ls1-aaaaaaa-bbbbb-cccccccccccccccccccc-d"), None);
    }
}
