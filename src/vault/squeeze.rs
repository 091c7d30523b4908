//! Makes what is to be sealed shorter: mostly JSON of a few shapes, whose field names are the larger part of it. What is said of one
//! lead becomes half as long, and so do the pages that it is kept on.

use lz4_flex::block::{compress_into_with_dict, decompress_into_with_dict, get_maximum_output_size};
use secrecy::zeroize::Zeroizing;

/// Texts as we write them, to refer to. It never changes: what was squeezed with it could not be read again. A better one is a new
/// one, under a mark of its own.
const WORDS: &[u8] = include_bytes!("squeeze.v1.txt");
/// What squeezed bytes begin with; JSON does not.
const MARK: u8 = 1;
/// Nothing that we seal is longer.
const LONGEST: usize = 64 << 20;

/// The shorter form, or the bytes as they are.
pub(super) fn squeeze(plain: &[u8]) -> Zeroizing<Vec<u8>> {
    let head = 1 + size_of::<u32>();
    let mut squeezed = Zeroizing::new(vec![0; head + get_maximum_output_size(plain.len())]);
    let body = compress_into_with_dict(plain, &mut squeezed[head..], WORDS);
    let length = body.ok().map(|body| head + body).filter(|length| *length < plain.len() || plain.first() == Some(&MARK));
    let Some(length) = length.filter(|_| plain.len() <= LONGEST) else { return Zeroizing::new(plain.to_vec()) };
    squeezed[0] = MARK;
    squeezed[1..head].copy_from_slice(&(plain.len() as u32).to_be_bytes());
    squeezed.truncate(length);
    squeezed
}

/// What [`squeeze`] was given; nothing when it is damaged, or was made by a newer version.
pub(super) fn unsqueeze(bytes: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
    let Some(rest) = bytes.strip_prefix(&[MARK]) else { return Some(bytes) };
    let (length, body) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= LONGEST)?;
    let mut plain = Zeroizing::new(vec![0; length]);
    (decompress_into_with_dict(body, &mut plain, WORDS).ok()? == length).then_some(plain)
}

#[cfg(test)]
mod tests {
    use leadshare_connectors::sdk::signature::sha256;
    use proptest::prelude::*;

    use super::*;

    // Breaks when the words change: every value that was sealed before could not be read any more.
    #[test]
    fn the_words_never_change() {
        assert_eq!(hex::encode(sha256(&[WORDS])), "d85bd343eb83db599d49725f96a03afbbda09ffd62f48b6b6cf349780f475b12");
        let kept = "01000000430fb80401091904234a6f33021173f00009cf026062225d7d7d7d";
        let kept = Zeroizing::new(hex::decode(kept).expect("hex"));
        assert_eq!(unsqueeze(kept).expect("reads").as_slice(), br#"{"lead":{"fields":{"first_name":"Jo"},"consent":{"choices":["b"]}}}"#);
    }

    // Breaks when what is short, empty, not JSON or begins with the mark comes back as something else.
    #[test]
    fn everything_comes_back() {
        for plain in [&b""[..], b"{}", b"\x01", b"\x01\x00\x00\x00\x09abcdefgh", WORDS] {
            assert_eq!(unsqueeze(squeeze(plain)).expect("reads").as_slice(), plain, "{plain:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_comes_back(plain in proptest::collection::vec(any::<u8>(), 0..4_000)) {
            let back = unsqueeze(squeeze(&plain)).expect("reads");
            prop_assert_eq!(back.as_slice(), plain.as_slice());
        }

        // Breaks when damaged bytes end the daemon.
        #[test]
        fn damaged_bytes_are_an_error_or_something(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = unsqueeze(Zeroizing::new([&[MARK, 0, 0, 1, 0], bytes.as_slice()].concat()));
        }
    }
}
