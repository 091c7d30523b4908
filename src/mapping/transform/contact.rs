//! E-mail addresses, phone numbers and domains.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::LazyLock;

use email_address::{EmailAddress, Options};

use super::text::trim;

/// An address in lower case with an ASCII domain, or `None` when nobody could receive mail there.
/// Tags (`jo+news@…`) are kept: they are part of the address that the person gave.
pub fn email(text: &str) -> Option<String> {
    let text = trim(text).to_lowercase();
    let text = text.strip_prefix("mailto:").unwrap_or(&text);
    let (local, domain) = text.rsplit_once('@')?;
    let address = format!("{local}@{}", ascii_host(domain)?);
    let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
    let valid = EmailAddress::parse_with_options(&address, options).is_ok() && !local.contains('"') && !local.contains(' ');
    valid.then_some(address)
}

/// A number in E.164, or `None` when no network could have given it out. `region` (ISO alpha-2) reads
/// national forms; numbers that start with `+` or `00` need none. Extensions are dropped.
pub fn e164(text: &str, region: Option<&str>) -> Option<String> {
    thread_local! {
        // Reading a number takes longer than all else about a record, and a record has the same one several times: as it was typed, as
        // the mapping's step made it, and as the one consented to.
        static LAST: RefCell<(String, Option<String>, Option<String>)> = RefCell::default();
    }
    LAST.with_borrow_mut(|(asked, of, number)| {
        if number.as_deref() != Some(text) && (asked != text || of.as_deref() != region) {
            *number = read_number(text, region);
            (*asked, *of) = (text.to_owned(), region.map(str::to_owned));
        }
        number.clone()
    })
}

fn read_number(text: &str, region: Option<&str>) -> Option<String> {
    let lower = trim(text).to_lowercase();
    let cut = ["ext", "extn", ";", "#", "x", "durchwahl", "app", "poste"].iter().filter_map(|mark| lower.find(mark)).min();
    let main = lower.get(..cut.unwrap_or(lower.len()))?;
    let main = main.strip_prefix("tel:").unwrap_or(main);
    if main.chars().any(char::is_alphabetic) {
        return None;
    }
    let international = main.trim_start_matches(['(', ' ']).starts_with('+');
    let main = if international { main.replace("(0)", "") } else { main.to_owned() };
    let digits: String = main.chars().filter_map(digit).collect();
    let region = region.and_then(|r| r.parse::<phonenumber::country::Id>().ok());
    let region = region.filter(|r| phonenumber::metadata::DATABASE.by_id(r.as_ref()).is_some());
    let dialled = match digits.strip_prefix("00") {
        _ if international => format!("+{digits}"),
        Some(rest) if region.is_none() => format!("+{rest}"),
        _ => digits,
    };
    if region.is_none() && !dialled.starts_with('+') {
        return None;
    }
    let number = phonenumber::parse(region, &dialled).ok()?;
    number.is_valid().then(|| number.format().mode(phonenumber::Mode::E164).to_string())
}

/// An ASCII digit from a digit, also an Arabic or a full-width one.
fn digit(c: char) -> Option<char> {
    let zero = match c {
        '0'..='9' => '0',
        '\u{660}'..='\u{669}' => '\u{660}',
        '\u{6f0}'..='\u{6f9}' => '\u{6f0}',
        '\u{ff10}'..='\u{ff19}' => '\u{ff10}',
        _ => return None,
    };
    char::from_digit(u32::from(c) - u32::from(zero), 10)
}

/// The domain that an organisation registered, from an address, a URL or a host name.
pub fn registrable_domain(text: &str) -> Option<String> {
    let text = trim(text).to_lowercase();
    let rest = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.');
    let host = ascii_host(host)?;
    psl::domain_str(&host).map(str::to_owned)
}

/// A domain as somebody names one, such as `firm.example`, `@firm.example` or `https://www.firm.example/`: without its `www.`. `None` for
/// addresses, places on a site, several domains, patterns, and what nobody can register.
pub fn domain(text: &str) -> Option<String> {
    let text = trim(text).to_lowercase();
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).map(|host| host.trim_end_matches('/'));
    let host = ascii_host(host.unwrap_or(&text).trim_start_matches('@').trim_end_matches('.'))?;
    let host = host.strip_prefix("www.").unwrap_or(&host);
    let label = |label: &str| {
        label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label).then(|| psl::domain_str(host))?.map(|_| host.to_owned())
}

/// Whether anybody can have an address at this domain, for good or for a while.
pub fn is_anybodys(domain: &str) -> bool {
    email_kind(&format!("somebody@{domain}")).is_some_and(|kind| kind != "business")
}

/// A host name in ASCII, or `None` for anything else (IP addresses, spaces, no dot).
fn ascii_host(host: &str) -> Option<String> {
    match url::Host::parse(host) {
        Ok(url::Host::Domain(domain)) if domain.contains('.') && !domain.contains("..") => Some(domain),
        _ => None,
    }
}

/// `free` (anyone can have one), `disposable`, or `business`, by embedded lists; `None` when it is no address.
pub fn email_kind(text: &str) -> Option<&'static str> {
    static FREE: LazyLock<HashSet<&str>> = LazyLock::new(|| list(include_str!("../data/email_free.txt")));
    static DISPOSABLE: LazyLock<HashSet<&str>> = LazyLock::new(|| list(include_str!("../data/email_disposable.txt")));
    let address = email(text)?;
    let (_, domain) = address.rsplit_once('@')?;
    let listed = |set: &HashSet<&str>| set.contains(domain) || registrable_domain(domain).is_some_and(|d| set.contains(d.as_str()));
    Some(match () {
        () if listed(&DISPOSABLE) => "disposable",
        () if listed(&FREE) => "free",
        () => "business",
    })
}

fn list(text: &'static str) -> HashSet<&'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}
