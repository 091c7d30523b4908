//! Clauses 3 and 4 in themselves: purposes, bases, transfer, and what an offer may show.

use std::collections::BTreeSet;

use super::super::reader::Tree;
use super::{known_field, known_place, message_path};
use crate::model::Channel;
use crate::model::agreement::privacy::Transfers;
use crate::model::agreement::{Agreement, Basis, BasisRule, RefusedKind};
use crate::model::field;

pub fn privacy(tree: &mut Tree<'_>, agreement: &Agreement) {
    let privacy = &agreement.privacy;
    for kind in RefusedKind::all().into_iter().filter(|k| k.always() && !privacy.refuse.contains(k)) {
        let message = format!("`{}` is refused all the same: an agreement cannot permit it", kind.word());
        tree.warning("privacy.refuse", "agreement.refuse", message, format!("add \"{}\" so that the file says what happens", kind.word()));
    }
    for (i, transfer) in privacy.transfer.all().iter().enumerate() {
        let base = match &privacy.transfer {
            Transfers::One(_) => "privacy.transfer".to_owned(),
            Transfers::Many(_) => format!("privacy.transfer.{i}"),
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

pub fn confidentiality(tree: &mut Tree<'_>, agreement: &Agreement) {
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

fn channel_word(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "email",
        Channel::Phone => "phone",
        Channel::Post => "post",
    }
}
