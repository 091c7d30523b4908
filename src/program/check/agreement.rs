//! An agreement's parties, term, money, exclusivity, signatures and operations, in themselves.

use std::collections::BTreeSet;

use super::super::reader::Tree;
use super::{calendar_only, conditions, known_place, list_reference, mailbox, message_path, privacy};
use crate::model::agreement::operations::EndCause;
use crate::model::agreement::{Agreement, Decimal, Mode, Order, Period, Role, Signatory, Unit, money};

/// Checks an agreement file.
pub fn agreement(tree: &mut Tree<'_>, name: &str, agreement: &Agreement) {
    if agreement.about.id != name {
        let message = format!("the id `{}` is not the file's name `{name}`", agreement.about.id);
        tree.error("about.id", "agreement.id", message, format!("write id = \"{name}\", or rename the file"));
    }
    mailbox(tree, "about.business", &agreement.about.business);
    mailbox(tree, "about.privacy", &agreement.about.privacy);
    parties(tree, agreement);
    conditions::qualification(tree, agreement);
    privacy::privacy(tree, agreement);
    privacy::confidentiality(tree, agreement);
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
    if term.on_end.as_ref().and_then(|rule| rule.finish_within).is_some_and(Period::is_business) {
        calendar_only(tree, "term.on_end.finish_within");
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
    conditions::conditions(tree, "operations.transfer.approve_if", &transfer.approve_if);
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
