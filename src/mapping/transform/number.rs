//! Numbers and truth values as people and systems write them.

use serde_json::Value;

use super::text::trim;

/// A decimal number as text without a sign `+`, leading zeros or zeros at the end. Both styles of separators are
/// read; one comma before exactly three digits separates thousands, unless `comma` says that it is the decimal mark.
pub fn decimal(text: &str, comma: bool) -> Option<String> {
    let text = trim(text);
    let text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '€' | '$' | '£' | '¥'));
    let text = strip_currency(text);
    let (negative, text) = match text.strip_prefix(['-', '−']) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let plain: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '\'' | '’')).collect();
    let (whole, part) = at_the_mark(&plain, comma)?;
    let grouped = whole.contains([',', '.']);
    if grouped && !groups_of_three(whole) {
        return None;
    }
    let whole: String = whole.chars().filter(|c| !matches!(c, ',' | '.')).collect();
    if whole.is_empty() && part.is_empty() || !(whole.chars().chain(part.chars()).all(|c| c.is_ascii_digit())) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let part = part.trim_end_matches('0');
    let number = if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") };
    Some(if negative && number != "0" { format!("-{number}") } else { number })
}

/// An ISO currency code before or after the number.
fn strip_currency(text: &str) -> &str {
    let is_code = |code: &str| code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase());
    if let Some((number, code)) = text.rsplit_once(' ')
        && is_code(code)
    {
        return number;
    }
    match text.split_once(' ') {
        Some((code, number)) if is_code(code) => number,
        _ => text,
    }
}

/// What stands before and after the decimal mark; `None` = the text makes no sense.
fn at_the_mark(text: &str, comma: bool) -> Option<(&str, &str)> {
    let commas = text.matches(',').count();
    let points = text.matches('.').count();
    let whole = Some((text, ""));
    match (commas, points) {
        (1, 0) if comma => text.split_once(','),
        (0, 1) if !comma => text.split_once('.'),
        (1, 0) => {
            let (before, after) = text.split_once(',')?;
            let thousands = after.len() == 3 && (1..=3).contains(&before.len()) && before != "0";
            if thousands { whole } else { Some((before, after)) }
        }
        (2.., 0) if comma => None,
        (_, 0) | (0, _) => whole,
        _ if text.rfind(',') > text.rfind('.') => text.rsplit_once(',').filter(|_| commas == 1),
        _ => text.rsplit_once('.').filter(|_| points == 1),
    }
}

fn groups_of_three(whole: &str) -> bool {
    let mut groups = whole.split([',', '.']);
    groups.next().is_some_and(|first| (1..=3).contains(&first.len())) && groups.all(|group| group.len() == 3)
}

/// A decimal as a JSON number; as text where a double would lose digits.
pub fn decimal_json(text: String) -> Value {
    match text.parse::<f64>() {
        Ok(number) if text.len() <= 15 => number.into(),
        _ => text.into(),
    }
}

/// A whole number; `1.200` and `1,200` are both twelve hundred, `12.0` is twelve.
pub fn integer(text: &str) -> Option<i64> {
    let text = trim(text);
    let thousands = text.matches('.').count() == 1 && !text.contains(',') && groups_of_three(text.trim_start_matches(['-', '+']));
    let text = if thousands && !text.trim_start_matches(['-', '+']).starts_with('0') { text.replace('.', "") } else { text };
    decimal(&text, false)?.parse().ok()
}

/// Yes or no, as systems and people write it.
pub fn boolean(text: &str) -> Option<bool> {
    match trim(text).to_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" | "on" | "x" | "checked" | "ja" | "j" | "oui" | "si" | "sí" | "sim" => Some(true),
        "false" | "f" | "no" | "n" | "0" | "off" | "unchecked" | "nein" | "nee" | "non" | "não" => Some(false),
        _ => None,
    }
}

/// The band that a number falls in: with edges 10 and 50, `0-9`, `10-49` or `50+`.
pub fn band(text: &str, edges: &[i64]) -> Option<String> {
    let number = integer(text).filter(|n| *n >= 0)?;
    let mut low = 0;
    for edge in edges {
        if number < *edge {
            return Some(format!("{low}-{}", edge - 1));
        }
        low = *edge;
    }
    Some(format!("{low}+"))
}
