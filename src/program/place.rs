//! Places in program files: groups of countries, countries (ISO 3166-1), subdivisions (ISO 3166-2).

/// The countries of the European Union with the territories that have codes of their own and where its law applies.
const EU: &[&str] = &[
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL",
    "PT", "RO", "SE", "SI", "SK", "AX", "GF", "GP", "MF", "MQ", "RE", "YT",
];
/// What the European Economic Area adds.
const EFTA_IN_EEA: &[&str] = &["IS", "LI", "NO"];

/// The groups that files may name, for hints.
pub const GROUPS: &[&str] = &["EEA", "EU", "UK"];

/// The countries of a group, or the one country that a place names or lies in.
fn countries(place: &str) -> Vec<&str> {
    match place {
        "EU" => EU.to_vec(),
        "EEA" => [EU, EFTA_IN_EEA].concat(),
        "UK" => vec!["GB"],
        other => vec![other.split_once('-').map_or(other, |(country, _)| country)],
    }
}

/// Whether a country is in a group, or the one that a place names.
fn within(place: &str, country: &str) -> bool {
    match place {
        "EU" => EU.contains(&country),
        "EEA" => EU.contains(&country) || EFTA_IN_EEA.contains(&country),
        "UK" => country == "GB",
        other => other == country,
    }
}

/// Why a place is not one, in a sentence; `None` when it is.
pub fn fault(place: &str) -> Option<String> {
    if GROUPS.contains(&place) {
        return None;
    }
    let (country, state) = place.split_once('-').map_or((place, None), |(country, _)| (country, Some(place)));
    let Some(known) = rust_iso3166::from_alpha2(country) else {
        return Some(format!(
            "`{place}` is not a place: write a group ({}), a country such as DE, or a state such as DE-BY",
            GROUPS.join(", ")
        ));
    };
    let state = state?;
    let found = known.subdivisions().is_some_and(|all| all.iter().any(|s| s.code == state));
    (!found).then(|| format!("`{state}` is not a state or region of {country} in ISO 3166-2"))
}

/// Whether a person or company in this country and state is inside the place.
pub fn contains(place: &str, country: Option<&str>, state: Option<&str>) -> bool {
    if place.contains('-') { state == Some(place) } else { country.is_some_and(|c| within(place, c)) }
}

/// How narrow a place is: states, then countries, then groups; the Union lies inside the Economic Area.
pub fn narrowness(place: &str) -> u8 {
    match place {
        "EEA" => 0,
        _ if GROUPS.contains(&place) => 1,
        _ if place.contains('-') => 3,
        _ => 2,
    }
}

/// Whether two places have somebody in common.
pub fn overlap(a: &str, b: &str) -> bool {
    if a.contains('-') && b.contains('-') {
        return a == b;
    }
    let theirs = countries(b);
    countries(a).iter().any(|country| theirs.contains(country))
}

/// The law on leaving it that a country's people carry with their data: `EEA`, `UK` or `CH`.
pub fn transfer_region(country: &str) -> Option<&'static str> {
    match country {
        "GB" => Some("UK"),
        "CH" => Some("CH"),
        other if within("EEA", other) => Some("EEA"),
        _ => None,
    }
}
