//! Transforms of plain text: names, companies, HTML.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Composed Unicode without white space, or invisible characters, at the ends.
pub fn trim(text: &str) -> String {
    let invisible = |c: char| c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    let text = text.trim_matches(invisible);
    // Most texts are, and are composed then.
    if text.is_ascii() { text.to_owned() } else { text.nfc().collect() }
}

/// One space between words.
pub fn collapse(text: &str) -> String {
    trim(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How names are compared: lower case, no accents, no punctuation, single spaces, no leading "the".
pub fn comparable(text: &str) -> String {
    let plain: String = text
        .nfd()
        .filter(|c| !is_combining_mark(*c) && !matches!(c, '\'' | '’' | '.'))
        .flat_map(char::to_lowercase)
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect();
    let plain = plain.replace('ß', "ss").replace('ø', "o").replace('ł', "l").replace('æ', "ae");
    let joined = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.strip_prefix("the ").map_or(joined.clone(), str::to_owned)
}

/// A person's name in usual capitals when it came all small or all capital; otherwise as written.
pub fn titlecase_name(text: &str) -> String {
    const PARTICLES: &[&str] = &[
        "af", "al", "av", "bin", "da", "de", "del", "della", "den", "der", "di", "do", "dos", "du", "el", "ibn", "la", "le", "van", "vom",
        "von", "y", "zu", "zum", "zur",
    ];
    let text = collapse(text);
    let mixed = text.chars().any(char::is_lowercase) && text.chars().any(char::is_uppercase);
    if mixed {
        return text;
    }
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(' ').collect();
    let many = words.len() > 1;
    let cased = words.iter().map(|word| if many && PARTICLES.contains(word) { (*word).to_owned() } else { capitals(word) });
    cased.collect::<Vec<_>>().join(" ")
}

fn capitals(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut start = true;
    for c in word.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        start = matches!(c, '-' | '\'' | '’' | '.');
    }
    match out.strip_prefix("Mc") {
        Some(rest) if rest.chars().count() > 2 => format!("Mc{}", capitals(rest)),
        _ => out,
    }
}

/// Given name and the rest of a full name; `Schmidt, Anna` is read as Anna Schmidt.
pub fn split_name(text: &str) -> (String, String) {
    let text = collapse(text);
    if let Some((last, first)) = text.split_once(',')
        && !first.contains(',')
        && !first.trim().is_empty()
    {
        return (first.trim().to_owned(), last.trim().to_owned());
    }
    match text.split_once(' ') {
        Some((first, rest)) => (first.to_owned(), rest.to_owned()),
        None => (text, String::new()),
    }
}

/// The first `most` characters.
pub fn truncate(text: &str, most: usize) -> String {
    text.chars().take(most).collect::<String>().trim_end().to_owned()
}

/// The text of a piece of HTML: no tags, comments, scripts or styles; the usual entities resolved.
pub fn strip_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        out.push_str(&rest[..open]);
        let tag = &rest[open..];
        let starts_tag = tag[1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'));
        if !starts_tag {
            out.push('<');
            rest = &tag[1..];
            continue;
        }
        out.push(' ');
        rest = after_tag(tag);
    }
    out.push_str(rest);
    collapse(&entities(&out))
}

/// What follows a tag, a comment, or a whole script or style element.
fn after_tag(tag: &str) -> &str {
    if let Some(comment) = tag.strip_prefix("<!--") {
        return comment.find("-->").map_or("", |end| &comment[end + 3..]);
    }
    let lower = tag.to_ascii_lowercase();
    for name in ["script", "style"] {
        let opens = lower.strip_prefix('<').and_then(|t| t.strip_prefix(name)).is_some_and(|t| t.starts_with(['>', ' ', '/', '\n', '\t']));
        if opens {
            let close = format!("</{name}");
            return lower.find(&close).map_or("", |at| after_tag(&tag[at..]));
        }
    }
    tag.find('>').map_or("", |end| &tag[end + 1..])
}

fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let end = tail.char_indices().take(10).find(|(_, c)| *c == ';').map(|(i, _)| i);
        let known = end.and_then(|end| entity(&tail[..end]).map(|c| (c, &tail[end + 1..])));
        let (c, after) = known.unwrap_or(('&', tail));
        out.push(c);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        "auml" => Some('ä'),
        "ouml" => Some('ö'),
        "uuml" => Some('ü'),
        "Auml" => Some('Ä'),
        "Ouml" => Some('Ö'),
        "Uuml" => Some('Ü'),
        "szlig" => Some('ß'),
        "eacute" => Some('é'),
        "egrave" => Some('è'),
        "euro" => Some('€'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|c| !c.is_control() || c.is_whitespace())
        }
    }
}
