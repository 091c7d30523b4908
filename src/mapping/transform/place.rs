//! Countries, states and languages, by code or by name.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::text::{comparable, trim};

/// Every ISO 639-1 code.
const LANGUAGES: &str = "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el \
en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl \
km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa \
pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur \
uz ve vi vo wa wo xh yi yo za zh zu";

/// Name → code, from a data file's `CODE name|name` lines.
fn aliases(text: &'static str) -> impl Iterator<Item = (String, &'static str)> {
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
    lines.flat_map(|(code, names)| names.split('|').map(move |name| (comparable(name), code)))
}

/// An ISO 3166-1 alpha-2 code from a code (two or three letters) or a name in one of the common languages.
pub fn country_code(text: &str) -> Option<&'static str> {
    static NAMES: LazyLock<HashMap<String, &str>> = LazyLock::new(|| {
        let iso = rust_iso3166::ALL.iter().map(|c| (comparable(c.name.split('(').next().unwrap_or_default()), c.alpha2));
        iso.chain(aliases(include_str!("../data/countries.txt"))).collect()
    });
    let upper = trim(text).to_uppercase();
    let by_code = match upper.len() {
        2 => rust_iso3166::from_alpha2(&upper),
        3 => rust_iso3166::from_alpha3(&upper),
        _ => None,
    };
    by_code.map(|c| c.alpha2).or_else(|| NAMES.get(&comparable(text)).copied())
}

/// A country's English name, for systems that keep names.
pub fn country_name(code: &str) -> Option<&'static str> {
    match code {
        "GB" => Some("United Kingdom"),
        "US" => Some("United States"),
        "KR" => Some("South Korea"),
        "NL" => Some("Netherlands"),
        _ => rust_iso3166::from_alpha2(code).map(|c| c.name.split(" (").next().unwrap_or(c.name)),
    }
}

/// An ISO 3166-2 code (`DE-BY`) from a full code, an abbreviation or a name. Abbreviations need the country; so do
/// names outside the United States, Canada, Germany and Austria.
pub fn state_code(text: &str, country: Option<&str>) -> Option<&'static str> {
    // Country and name → code. Where two states of a country share a name, the first listed has it.
    static NAMES: LazyLock<HashMap<(&str, String), &str>> = LazyLock::new(|| {
        let mut names = HashMap::new();
        for country in rust_iso3166::ALL {
            for state in country.subdivisions().unwrap_or_default() {
                for name in state.name.split(['(', '/', '[']).map(comparable).filter(|name| !name.is_empty()) {
                    names.entry((country.alpha2, name)).or_insert(state.code);
                }
            }
        }
        for (name, code) in aliases(include_str!("../data/states.txt")) {
            names.entry((&code[..2], name)).or_insert(code);
        }
        names
    });
    let upper = trim(text).to_uppercase();
    if let Some(whole) = rust_iso3166::iso3166_2::from_code(&upper) {
        return country.is_none_or(|c| c == whole.country_code).then_some(whole.code);
    }
    let name = comparable(text);
    let named = |country: &'static str| NAMES.get(&(country, name.clone())).copied();
    let Some(country) = country else {
        let mut found = ["US", "CA", "DE", "AT"].into_iter().filter_map(named);
        return found.next().filter(|_| found.next().is_none());
    };
    let country = rust_iso3166::from_alpha2(country)?.alpha2;
    let short = rust_iso3166::iso3166_2::from_code(&format!("{country}-{upper}"));
    short.map(|state| state.code).or_else(|| named(country))
}

/// An ISO 639-1 code from a code, a locale (`de_AT`) or a name.
pub fn language_code(text: &str) -> Option<&'static str> {
    static NAMES: LazyLock<HashMap<String, &str>> = LazyLock::new(|| aliases(include_str!("../data/languages.txt")).collect());
    let lower = trim(text).to_lowercase();
    let code = lower.split(['-', '_']).next().unwrap_or_default();
    LANGUAGES.split(' ').find(|known| *known == code).or_else(|| NAMES.get(&comparable(text)).copied())
}
