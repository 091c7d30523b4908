//! What one file must fulfil in itself, beyond its schema: names, places, fields, dates, money.

use std::collections::BTreeSet;

use super::expr::Expr;
use super::list::is_domain;
use super::reader::Tree;
use super::{FileKind, Notice, Partner, place};
use crate::errors::did_you_mean;
use crate::model::Channel;
use crate::model::agreement::operations::EndCause;
use crate::model::agreement::{
    Agreement, Basis, BasisRule, Condition, Conditions, Decimal, Mode, Order, Period, RefusedKind, Role, Scalar, Signatory, Unit, money,
};
use crate::model::field::{self, Kind};

/// Why a file's name cannot be used, with what to do.
pub fn name_fault(kind: FileKind, name: &str) -> Option<(String, String)> {
    let dots = kind == FileKind::Message;
    let fine = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || dots && c == '.')
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    (!fine).then(|| {
        let message = format!("`{name}` is not a name for {} files", kind.word());
        (message, "use small letters, digits and dashes, at most 64 characters".to_owned())
    })
}

/// Checks a partner file.
pub fn partner(tree: &mut Tree<'_>, partner: &Partner) {
    country(tree, "country", &partner.country);
    for (i, name) in partner.territory.iter().enumerate() {
        known_place(tree, &format!("territory.{i}"), name, false);
    }
    for (i, domain) in partner.domains.iter().enumerate() {
        if !is_domain(domain) || domain.to_lowercase() != *domain {
            tree.error(&format!("domains.{i}"), "partner.domain", format!("`{domain}` is not a domain"), "write it as example.com");
        }
    }
    for (i, language) in partner.languages.iter().enumerate() {
        known_language(tree, &format!("languages.{i}"), language);
    }
    mailbox(tree, "contacts.business", &partner.contacts.business);
    mailbox(tree, "contacts.privacy", &partner.contacts.privacy);
    if let Some(address) = &partner.contacts.escalation {
        mailbox(tree, "contacts.escalation", address);
    }
    let calendar = &partner.calendar;
    let opens = time(tree, "calendar.opens", &calendar.opens);
    let closes = time(tree, "calendar.closes", &calendar.closes);
    if let (Some(opens), Some(closes)) = (opens, closes)
        && opens >= closes
    {
        tree.error("calendar.closes", "partner.calendar", "the day must end after it begins".to_owned(), None);
    }
    if calendar.days.is_empty() {
        tree.error("calendar.days", "partner.calendar", "there is no working day".to_owned(), "name at least one, such as \"mon\"");
    }
    if partner.signers.is_empty() {
        let message = "nobody may sign for this partner, so none of its agreements comes into force".to_owned();
        tree.warning("signers", "partner.no_signer", message, "add signers = [\"Name, office\"]");
    }
}

/// Checks a notice file.
pub fn notice(tree: &mut Tree<'_>, notice: &Notice) {
    known_language(tree, "language", &notice.language);
    if let Some(until) = notice.shown.until
        && until < notice.shown.from
    {
        tree.error("shown.until", "notice.dates", "the last day lies before the first".to_owned(), None);
    }
    for (empty, path, what) in [
        (notice.recipients.is_empty(), "recipients", "names no recipient: it can prove no sharing"),
        (notice.purposes.is_empty(), "purposes", "tells of no purpose"),
    ] {
        if empty {
            tree.error(path, "notice.empty", format!("the notice {what}"), None);
        }
    }
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let text = words(&notice.text);
    for (i, recipient) in notice.recipients.iter().enumerate() {
        if !text.contains(&words(recipient)) {
            let message = format!("the notice's text does not say `{recipient}`");
            let advice = "a recipient counts only if people read its registered name";
            tree.error(&format!("recipients.{i}"), "notice.unnamed_recipient", message, advice);
        }
    }
}

/// Checks an agreement file.
pub fn agreement(tree: &mut Tree<'_>, name: &str, agreement: &Agreement) {
    if agreement.about.id != name {
        let message = format!("the id `{}` is not the file's name `{name}`", agreement.about.id);
        tree.error("about.id", "agreement.id", message, format!("write id = \"{name}\", or rename the file"));
    }
    mailbox(tree, "about.business", &agreement.about.business);
    mailbox(tree, "about.privacy", &agreement.about.privacy);
    parties(tree, agreement);
    qualification(tree, agreement);
    privacy(tree, agreement);
    confidentiality(tree, agreement);
    term(tree, agreement);
    if let Some(commission) = &agreement.commission {
        rates(tree, commission);
    }
    if agreement.disputes.ownership.protected.is_business() {
        calendar_only(tree, "disputes.ownership.protected");
    }
    exclusivity(tree, agreement);
    signing(tree, agreement);
    operations(tree, agreement);
}

fn parties(tree: &mut Tree<'_>, agreement: &Agreement) {
    let parties = &agreement.parties;
    if parties.source.partner == parties.recipient.partner {
        let message = "source and recipient are the same partner".to_owned();
        tree.error("parties.recipient.partner", "agreement.same_partner", message, "an agreement runs between two partners");
    }
    for (side, party) in [("source", &parties.source), ("recipient", &parties.recipient)] {
        match (party.role, &party.client) {
            (Role::Processor, None) => {
                let message = format!("the {side} is a processor, but for whom?");
                tree.error(&format!("parties.{side}"), "agreement.client", message, "add client = \"…\": the client signs too");
            }
            (Role::Controller | Role::Joint, Some(_)) => {
                let message = "only a processor acts for a client".to_owned();
                tree.error(
                    &format!("parties.{side}.client"),
                    "agreement.client",
                    message,
                    "take `client` out, or write role = \"processor\"",
                );
            }
            _ => {}
        }
    }
}

fn qualification(tree: &mut Tree<'_>, agreement: &Agreement) {
    let rules = &agreement.qualification;
    for (i, name) in rules.required.iter().enumerate() {
        known_field(tree, &format!("qualification.required.{i}"), name);
    }
    conditions(tree, "qualification.all", &rules.all);
    conditions(tree, "qualification.none", &rules.none);
    if let Some(source) = &rules.expression
        && let Err((message, advice)) = Expr::new(source)
    {
        tree.error("qualification.where", "agreement.expression", message, advice);
    }
    if let Some(fresh) = &rules.fresh {
        if field::lookup(&fresh.since).is_none_or(|f| !matches!(f.kind, Kind::DateTime | Kind::Date)) {
            let message = format!("`{}` is not a lead field with a moment", fresh.since);
            tree.error("qualification.fresh.since", "agreement.fresh", message, "write since = \"own_last_action\"");
        }
        if fresh.within.is_business() {
            calendar_only(tree, "qualification.fresh.within");
        }
    }
}

fn conditions(tree: &mut Tree<'_>, path: &str, conditions: &Conditions) {
    for (name, condition) in conditions {
        let path = format!("{path}.{name}");
        let Some(definition) = field::lookup(name) else {
            unknown_field(tree, &path, name, true);
            continue;
        };
        condition_fits(tree, &path, name, definition.kind, condition);
    }
}

fn condition_fits(tree: &mut Tree<'_>, path: &str, name: &str, kind: Kind, condition: &Condition) {
    if *condition == Condition::default() {
        let message = format!("the condition on `{name}` tests nothing");
        return tree.key_error(path, "agreement.condition", message, "add a test such as in = […], at_least = 50 or is = true");
    }
    let ordered = matches!(kind, Kind::Integer | Kind::Decimal | Kind::Date | Kind::DateTime);
    let range =
        [("at_least", condition.at_least.is_some()), ("at_most", condition.at_most.is_some()), ("between", condition.between.is_some())];
    for (test, _) in range.into_iter().filter(|(_, used)| *used && !ordered) {
        let message = format!("`{name}` has no order: `{test}` cannot test it");
        tree.key_error(&format!("{path}.{test}"), "agreement.condition", message, "use is, in, not_in or list");
    }
    let mut values: Vec<(String, &Scalar)> = Vec::new();
    values.extend(condition.is.iter().map(|v| ("is".to_owned(), v)));
    values.extend(condition.within.iter().flatten().enumerate().map(|(i, v)| (format!("in.{i}"), v)));
    values.extend(condition.not_in.iter().flatten().enumerate().map(|(i, v)| (format!("not_in.{i}"), v)));
    if ordered {
        values.extend(condition.at_least.iter().map(|v| ("at_least".to_owned(), v)));
        values.extend(condition.at_most.iter().map(|v| ("at_most".to_owned(), v)));
        values.extend(condition.between.iter().flat_map(|(a, b)| [("between.0".to_owned(), a), ("between.1".to_owned(), b)]));
    }
    for (test, value) in values {
        if let Some(message) = value_fault(name, kind, value) {
            tree.error(&format!("{path}.{test}"), "agreement.condition", message, None);
        }
    }
    if let Some((low, high)) = &condition.between
        && let (Some(low), Some(high)) = (number(low), number(high))
        && low > high
    {
        tree.error(&format!("{path}.between"), "agreement.condition", "the first value is above the second".to_owned(), "swap them");
    }
}

fn number(value: &Scalar) -> Option<f64> {
    match value {
        Scalar::Integer(n) => Some(*n as f64),
        Scalar::Float(n) => Some(*n),
        Scalar::Text(text) => text.parse().ok(),
        Scalar::Boolean(_) => None,
    }
}

/// Why a value cannot be compared with a field of this kind.
fn value_fault(name: &str, kind: Kind, value: &Scalar) -> Option<String> {
    let wants = |what: &str| Some(format!("`{name}` is {what}: this value never equals it"));
    match (kind, value) {
        (Kind::Boolean, Scalar::Boolean(_)) | (Kind::Integer | Kind::Decimal, Scalar::Integer(_) | Scalar::Float(_)) => None,
        (Kind::Boolean, _) => wants("true or false"),
        (Kind::Decimal, Scalar::Text(text)) if text.parse::<f64>().is_ok() => None,
        (Kind::Integer | Kind::Decimal, _) => wants("a number"),
        (_, Scalar::Boolean(_) | Scalar::Integer(_) | Scalar::Float(_)) => wants("text"),
        (Kind::Country, Scalar::Text(text)) => {
            (text.contains('-') || place::fault(text).is_some() || place::GROUPS.contains(&text.as_str()))
                .then(|| format!("`{text}` is not a country: write ISO codes such as \"DE\""))
        }
        (Kind::State, Scalar::Text(text)) if !text.contains('-') => {
            Some(format!("`{text}` is not a state: write ISO codes such as \"DE-BY\""))
        }
        (Kind::State, Scalar::Text(text)) => place::fault(text),
        (Kind::Date, Scalar::Text(text)) if text.parse::<jiff::civil::Date>().is_err() => wants("a day such as \"2026-04-01\""),
        (Kind::DateTime, Scalar::Text(text)) if text.parse::<jiff::Timestamp>().is_err() => {
            wants("a moment such as \"2026-04-01T00:00:00Z\"")
        }
        (Kind::Email | Kind::Domain, Scalar::Text(text)) if text.to_lowercase() != *text => wants("in small letters"),
        _ => None,
    }
}

fn privacy(tree: &mut Tree<'_>, agreement: &Agreement) {
    let privacy = &agreement.privacy;
    for kind in RefusedKind::all().into_iter().filter(|k| k.always() && !privacy.refuse.contains(k)) {
        let message = format!("`{}` is refused all the same: an agreement cannot permit it", kind.word());
        tree.warning("privacy.refuse", "agreement.refuse", message, format!("add \"{}\" so that the file says what happens", kind.word()));
    }
    for (i, transfer) in privacy.transfer.all().iter().enumerate() {
        let base = match &privacy.transfer {
            crate::model::agreement::privacy::Transfers::One(_) => "privacy.transfer".to_owned(),
            crate::model::agreement::privacy::Transfers::Many(_) => format!("privacy.transfer.{i}"),
        };
        known_place(tree, &format!("{base}.from"), &transfer.from, false);
        known_place(tree, &format!("{base}.to"), &transfer.to, false);
        if transfer.review_by < transfer.assessed {
            let message = "the review is due before the assessment was made".to_owned();
            tree.error(&format!("{base}.review_by"), "agreement.transfer", message, None);
        }
    }
    if let Some(notice) = &privacy.recipient_notice {
        message_path(tree, "privacy.recipient_notice.text", &notice.text);
    }
    purposes(tree, agreement);
}

fn purposes(tree: &mut Tree<'_>, agreement: &Agreement) {
    let privacy = &agreement.privacy;
    if privacy.purpose.is_empty() {
        let message = "there is no purpose, so nothing may leave".to_owned();
        return tree.error("privacy.purpose", "agreement.purpose", message, "add [[privacy.purpose]]");
    }
    let mut seen = BTreeSet::new();
    for (i, purpose) in privacy.purpose.iter().enumerate() {
        let path = format!("privacy.purpose.{i}");
        if !seen.insert(&purpose.id) {
            tree.error(&format!("{path}.id"), "agreement.purpose", format!("the purpose `{}` stands here twice", purpose.id), None);
        }
        if purpose.basis.is_empty() {
            let message = format!("the purpose `{}` has no legal basis anywhere", purpose.id);
            tree.error(&format!("{path}.basis"), "agreement.basis", message, "add one by place, such as { EEA = \"consent\" }");
        }
        for (name, rule) in &purpose.basis {
            let at = format!("{path}.basis.{name}");
            known_place(tree, &at, name, true);
            let BasisRule::Channels(channels) = rule else { continue };
            for (channel, basis) in channels {
                let (word, fits) = match basis {
                    Basis::DoubleOptIn => ("double_opt_in", *channel == Channel::Email),
                    Basis::SellerNamedWritten => ("seller_named_written", *channel == Channel::Phone),
                    Basis::Consent | Basis::PersonDirected | Basis::NotOptedOut => continue,
                };
                if !fits {
                    let only = if *basis == Basis::DoubleOptIn {
                        "confirms a mailbox: only `email`"
                    } else {
                        "is about calls and texts: only `phone`"
                    };
                    let at = format!("{at}.{}", channel_word(*channel));
                    tree.error(&at, "agreement.basis", format!("`{word}` {only} can have it"), "use \"consent\" here");
                }
            }
        }
        for (n, name) in purpose.fields.iter().enumerate() {
            let at = format!("{path}.fields.{n}");
            known_field(tree, &at, name);
            if name == "notes" && privacy.refuse.contains(&RefusedKind::FreeText) {
                let message = "`notes` is free text, which `privacy.refuse` refuses".to_owned();
                tree.error(&at, "agreement.free_text", message, "take it out here");
            }
        }
    }
    let contact_fields = ["email", "phone", "mobile", "street", "postal_code"];
    let gives_contact = privacy.purpose.iter().any(|p| p.fields.iter().any(|f| contact_fields.contains(&f.as_str())));
    if privacy.purpose.iter().all(|p| p.fields.is_empty()) {
        let message = "no purpose lists fields, so nothing may leave".to_owned();
        tree.error("privacy.purpose", "agreement.purpose", message, "add fields = […] to the purpose that gives the name");
    } else if gives_contact && privacy.purpose.iter().all(|p| !p.fields.is_empty()) {
        let message = "no purpose permits making contact, so addresses and numbers are held back".to_owned();
        let advice = "add a [[privacy.purpose]] without `fields` that says how people may be contacted, and on which basis";
        tree.error("privacy.purpose", "agreement.no_contact_purpose", message, advice);
    }
}

fn confidentiality(tree: &mut Tree<'_>, agreement: &Agreement) {
    let leaving: BTreeSet<&str> = agreement.privacy.purpose.iter().flat_map(|p| p.fields.iter().map(String::as_str)).collect();
    for (i, name) in agreement.confidentiality.before_acceptance.iter().enumerate() {
        let path = format!("confidentiality.before_acceptance.{i}");
        known_field(tree, &path, name);
        let Some(definition) = field::lookup(name) else { continue };
        if definition.personal || name == "company" || name == "company_domain" || name == "website" {
            let message = format!("`{name}` tells who it is: an offer may not show it before acceptance");
            tree.error(&path, "agreement.unmasked", message, "name fields such as country, industry or need");
        } else if !(leaving.contains(name.as_str()) || name == "employees_band" && leaving.contains("employees")) {
            let message = format!("`{name}` is in no purpose's `fields`: offers leave it out");
            tree.warning(&path, "agreement.offer_field", message, "add it to the `fields` of a purpose, or take it out here");
        }
    }
}

fn term(tree: &mut Tree<'_>, agreement: &Agreement) {
    let term = &agreement.term;
    if term.runs.until < term.runs.from {
        tree.error("term.runs.until", "agreement.dates", "the last day lies before the first".to_owned(), None);
    }
    if let Some(renewal) = &term.renewal {
        if renewal.by.is_business() || renewal.by.unit == Unit::Hours {
            calendar_only(tree, "term.renewal.by");
        }
        if renewal.notice.is_some_and(|n| n.is_business() || n.unit == Unit::Hours) {
            calendar_only(tree, "term.renewal.notice");
        }
        if renewal.times > 100 {
            tree.error("term.renewal.times", "agreement.dates", "more than 100 renewals".to_owned(), "sign a longer term");
        }
    }
    if let Some(ended) = &agreement.operations.ended {
        let needed = term.terminate.as_ref().and_then(|t| match ended.cause {
            EndCause::Convenience => t.convenience,
            EndCause::ForCause => t.for_cause_after_cure,
        });
        let received = ended.received.0.to_zoned(term.runs.zone.rules()).date();
        let earliest = needed.and_then(Period::span).and_then(|span| received.checked_add(span).ok());
        match (needed, earliest) {
            (None, _) if ended.cause == EndCause::Convenience => {
                let message = "`term.terminate` does not let a side end it without a cause".to_owned();
                tree.error("operations.ended.cause", "agreement.ended", message, None);
            }
            (_, Some(earliest)) if ended.last_day.0 < earliest => {
                let message = format!("the notice was received on {received}: the last day can be {earliest} at the earliest");
                tree.error("operations.ended.last_day", "agreement.ended", message, None);
            }
            _ => {}
        }
    }
}

fn rates(tree: &mut Tree<'_>, commission: &money::Commission) {
    let fixed_base = commission.on.base == money::PaidBase::Fixed;
    if commission.rate.is_empty() {
        tree.error("commission.rate", "agreement.rate", "there is no rate".to_owned(), "add one, such as { percent = \"10\" }");
    }
    let mut reached = None;
    for (i, rate) in commission.rate.iter().enumerate() {
        let path = format!("commission.rate.{i}");
        match (rate.percent, rate.fixed) {
            (Some(percent), None) if !fixed_base => {
                if !(0..=100_000_000).contains(&percent.micros()) {
                    tree.error(&format!("{path}.percent"), "agreement.rate", "a rate lies between 0 and 100 percent".to_owned(), None);
                }
            }
            (None, Some(_)) if fixed_base => {}
            _ => {
                let want = if fixed_base { "fixed" } else { "percent" };
                let message = format!("this rate needs `{want}` and nothing else, because of `commission.on.base`");
                tree.error(&path, "agreement.rate", message, None);
            }
        }
        let above = rate.above.map_or(0, Decimal::micros);
        if above != reached.unwrap_or(0) || i > 0 && reached.is_none() {
            let message = "the rates leave a gap or overlap".to_owned();
            tree.error(&path, "agreement.rate", message, "each `above` must be the `up_to` before it");
        }
        reached = rate.up_to.map(Decimal::micros);
        if reached.is_some_and(|up_to| up_to <= above) {
            tree.error(&format!("{path}.up_to"), "agreement.rate", "`up_to` is not above where this rate begins".to_owned(), None);
        }
    }
    if let Some(last) = commission.rate.len().checked_sub(1)
        && reached.is_some()
    {
        let message = "nothing says what is paid above the last `up_to`".to_owned();
        tree.error(&format!("commission.rate.{last}"), "agreement.rate", message, "add { above = \"…\", percent = \"…\" }");
    }
    let currency = &commission.limits.currency;
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
        tree.error(
            "commission.limits.currency",
            "agreement.currency",
            format!("`{currency}` is not a currency"),
            "write an ISO code such as \"EUR\"",
        );
    }
}

fn exclusivity(tree: &mut Tree<'_>, agreement: &Agreement) {
    let exclusivity = &agreement.exclusivity;
    if let Some(gives) = &exclusivity.source_gives {
        for (i, name) in gives.territory.iter().enumerate() {
            known_place(tree, &format!("exclusivity.source_gives.territory.{i}"), name, false);
        }
        if gives.territory.is_empty() && gives.segment.is_empty() {
            let message = "exclusivity without a scope would give every lead to one recipient".to_owned();
            tree.error("exclusivity.source_gives", "agreement.exclusivity", message, "name `territory`, `segment` or both");
        }
    }
    if let Some(gives) = &exclusivity.recipient_gives {
        list_reference(tree, "exclusivity.recipient_gives.rivals", &gives.rivals);
    }
    if let Some(list) = &exclusivity.kept_for_direct_sales {
        list_reference(tree, "exclusivity.kept_for_direct_sales", list);
    }
}

fn signing(tree: &mut Tree<'_>, agreement: &Agreement) {
    let mut seen = BTreeSet::new();
    let clients = [&agreement.parties.source, &agreement.parties.recipient].iter().any(|p| p.client.is_some());
    for (i, signature) in agreement.signing.signed.iter().enumerate() {
        let path = format!("signing.signed.{i}");
        if !seen.insert(signature.party) {
            tree.error(
                &format!("{path}.party"),
                "agreement.signature",
                "this side signed already".to_owned(),
                "keep one signature per side",
            );
        }
        if signature.party == Signatory::Client && !clients {
            tree.error(&format!("{path}.party"), "agreement.signature", "no side acts for a client".to_owned(), None);
        }
        if !is_sha256(&signature.terms) {
            let advice = "`leadshare agreement check` prints the hash of the terms";
            tree.error(&format!("{path}.terms"), "agreement.signature", "this is not a hash of 64 hexadecimal digits".to_owned(), advice);
        }
    }
    if let Some(document) = &agreement.signing.document
        && !is_sha256(&document.sha256)
    {
        let advice = "`sha256sum FILE` prints it";
        tree.error("signing.document.sha256", "agreement.document", "this is not a hash of 64 hexadecimal digits".to_owned(), advice);
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn operations(tree: &mut Tree<'_>, agreement: &Agreement) {
    let transfer = &agreement.operations.transfer;
    conditions(tree, "operations.transfer.approve_if", &transfer.approve_if);
    if transfer.recipients == 0 {
        tree.error("operations.transfer.recipients", "agreement.transfer_mode", "a lead goes to at least 1 recipient".to_owned(), None);
    }
    if transfer.mode == Mode::Offer && transfer.answer_within.is_none() {
        let message = "an offer without an end would wait for ever".to_owned();
        tree.error("operations.transfer", "agreement.transfer_mode", message, "add answer_within = \"1bd\"");
    }
    if transfer.mode == Mode::Direct && transfer.order == Order::AtOnce {
        let message = "only offers can be made to several at once".to_owned();
        tree.error("operations.transfer.order", "agreement.transfer_mode", message, "write mode = \"offer\", or take `order` out");
    }
    if let Some(capacity) = &agreement.operations.capacity
        && capacity.weight.is_some_and(|w| !(1..=10).contains(&w))
    {
        tree.error("operations.capacity.weight", "agreement.capacity", "a weight lies between 1 and 10".to_owned(), None);
    }
    if let Some(messaging) = &agreement.operations.messaging {
        for (key, path) in
            [("introduction", &messaging.introduction), ("positioning", &messaging.positioning), ("disclaimer", &messaging.disclaimer)]
        {
            if let Some(path) = path {
                message_path(tree, &format!("operations.messaging.{key}"), path);
            }
        }
    }
}

fn calendar_only(tree: &mut Tree<'_>, path: &str) {
    let message = format!("`{path}` counts by the calendar");
    tree.error(path, "agreement.period", message, "write d, m or y, such as \"14d\"");
}

fn known_field(tree: &mut Tree<'_>, path: &str, name: &str) {
    if field::lookup(name).is_none() {
        unknown_field(tree, path, name, false);
    }
}

fn unknown_field(tree: &mut Tree<'_>, path: &str, name: &str, is_key: bool) {
    let hint = did_you_mean(name, field::FIELDS.iter().map(|f| f.name))
        .map_or_else(|| "own fields begin with `x_`".to_owned(), |near| format!("did you mean `{near}`?"));
    let message = format!("`{name}` is not a lead field");
    if is_key { tree.key_error(path, "agreement.field", message, hint) } else { tree.error(path, "agreement.field", message, hint) }
}

fn known_place(tree: &mut Tree<'_>, path: &str, name: &str, is_key: bool) {
    let Some(message) = place::fault(name) else { return };
    let upper = name.to_uppercase();
    let hint = (upper != name && place::fault(&upper).is_none()).then(|| format!("did you mean `{upper}`?"));
    if is_key { tree.key_error(path, "program.place", message, hint) } else { tree.error(path, "program.place", message, hint) }
}

fn country(tree: &mut Tree<'_>, path: &str, code: &str) {
    if rust_iso3166::from_alpha2(code).is_none() {
        let advice = if code == "UK" { "did you mean `GB`?" } else { "write its ISO code, such as \"NL\"" };
        tree.error(path, "program.country", format!("`{code}` is not a country"), advice);
    }
}

fn known_language(tree: &mut Tree<'_>, path: &str, code: &str) {
    let (main, region) = code.split_once('-').map_or((code, None), |(main, region)| (main, Some(region)));
    let fine =
        main.len() == 2 && main.bytes().all(|b| b.is_ascii_lowercase()) && region.is_none_or(|r| rust_iso3166::from_alpha2(r).is_some());
    if !fine {
        tree.error(path, "program.language", format!("`{code}` is not a language"), "write its ISO code, such as \"de\" or \"pt-BR\"");
    }
}

fn mailbox(tree: &mut Tree<'_>, path: &str, address: &str) {
    if !email_address::EmailAddress::is_valid(address) {
        tree.error(path, "program.mailbox", format!("`{path}` is not an e-mail address"), None);
    }
}

fn time(tree: &mut Tree<'_>, path: &str, text: &str) -> Option<jiff::civil::Time> {
    let time = (text.len() == 5).then(|| text.parse().ok()).flatten();
    if time.is_none() {
        tree.error(path, "partner.calendar", format!("`{text}` is not a time of day"), "write it as \"09:00\"");
    }
    time
}

fn list_reference(tree: &mut Tree<'_>, path: &str, text: &str) {
    if super::list_name(text).is_none() {
        tree.error(path, "agreement.list", format!("`{text}` does not name a list"), "write it as \"list:<name>\" for lists/<name>.csv");
    }
}

fn message_path(tree: &mut Tree<'_>, path: &str, text: &str) {
    if super::message_name(text).is_none() {
        tree.error(path, "agreement.message", format!("`{text}` does not name a message"), "write it as \"messages/<name>.md\"");
    }
}

fn channel_word(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "email",
        Channel::Phone => "phone",
        Channel::Post => "post",
    }
}
