//! The people of a simulation: what they are called, what they agreed to, and what is true of them.

use std::collections::BTreeSet;

use leadshare_connectors::sdk::Fields;
use serde_json::{Value, json};

use super::network::Watched;
use super::program::Actor;
use super::rng::Rng;
use crate::clock::{Millis, rfc3339};

/// What is the matter with somebody's consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Given on a form that showed the notice.
    Given,
    /// Nobody was chosen.
    None,
    /// It says that nobody may have it.
    Nobody,
    /// It came from an import, not from the person.
    Imported,
    /// The form showed another notice.
    OtherNotice,
}

/// A person's record at a source.
#[derive(Debug, Clone)]
pub struct Held {
    /// The source.
    pub actor: usize,
    /// The record's id there.
    pub id: String,
    /// The recipients that were chosen.
    pub choices: BTreeSet<usize>,
    /// What the choice is worth.
    pub consent: Consent,
    /// Whether the person was stopped there.
    pub stopped: bool,
    /// Whether it is still there, and nothing odd happened to it.
    pub live: bool,
}

/// A person.
#[derive(Debug, Clone)]
pub struct Person {
    /// The number.
    pub n: usize,
    /// First name.
    pub first: String,
    /// Last name.
    pub last: String,
    /// The address, lower case.
    pub email: String,
    /// The number, as it is written in its country.
    pub phone: String,
    /// A word in a field that no agreement lists.
    pub secret: String,
    /// Its records.
    pub records: Vec<Held>,
    /// Recipients about whom nothing is promised any more: their people did something to the record.
    pub unsettled: BTreeSet<usize>,
}

impl Person {
    /// Somebody of this number.
    pub fn new(n: usize) -> Self {
        Self {
            n,
            first: format!("Fay{n}"),
            last: format!("Zuyderqvist{n}"),
            email: format!("fay{n}.zuyderqvist{n}@firm{n}.example"),
            phone: format!("020 624 {}", 1_000 + n),
            secret: format!("jobsecret{n}x"),
            records: Vec::new(),
            unsettled: BTreeSet::new(),
        }
    }

    /// What the network watches for.
    pub fn watched(&self) -> Watched {
        Watched {
            email: self.email.clone(),
            phone: format!("20624{}", 1_000 + self.n),
            secret: self.secret.clone(),
            agreed: BTreeSet::new(),
            known_at: BTreeSet::new(),
        }
    }

    /// Words that must stand in nothing that is kept in clear.
    pub fn personal(&self) -> [String; 4] {
        [self.email.clone(), self.last.to_lowercase(), format!("20624{}", 1_000 + self.n), self.secret.clone()]
    }

    /// The address as somebody may type it.
    pub fn spelled(&self, rng: &mut Rng) -> String {
        match rng.below(4) {
            0 => self.email.to_uppercase(),
            1 => self.email.replace("fay", "Fay").replace("zuyder", "Zuyder"),
            _ => self.email.clone(),
        }
    }

    /// The record of this person at a source, as a form or a colleague makes it.
    pub fn record(&self, at: &Actor, chosen: &[&str], consent: Consent, email: &str, now: Millis) -> Fields {
        let given = matches!(consent, Consent::Given | Consent::Imported | Consent::OtherNotice);
        let when = if given { json!(rfc3339(now)) } else { Value::Null };
        let notice = match consent {
            Consent::Given | Consent::Imported => json!(at.notice()),
            Consent::OtherNotice => json!("another-notice"),
            _ => Value::Null,
        };
        let choice = |nobody: &str| match consent {
            Consent::None => Value::Null,
            Consent::Nobody => json!(nobody),
            _ => json!(chosen.join(";")),
        };
        let by = |form: &str, import: &str| match consent {
            Consent::Given | Consent::OtherNotice => json!(form),
            Consent::Imported => json!(import),
            _ => Value::Null,
        };
        let point = |value: &str| if given { json!(value) } else { Value::Null };
        let all = match at.connector {
            "hubspot" => json!({
                "email": email, "firstname": self.first, "lastname": self.last, "phone": self.phone, "jobtitle": self.secret,
                "company": format!("Firm {}", self.n), "country": "Netherlands", "recent_conversion_date": rfc3339(now),
                "ls_partner_choice": choice("nobody"), "ls_notice": notice, "ls_consent_at": when, "ls_consent_source": by("FORM", "IMPORT"),
                "ls_consented_email": point(&self.email), "ls_consented_phone": point(&self.phone), "ls_stop": "no",
            }),
            "salesforce" => json!({
                "Email": email, "FirstName": self.first, "LastName": self.last, "Phone": self.phone, "Title": self.secret,
                "Company": format!("Firm {}", self.n), "Country": "Netherlands", "Last_Form_At__c": rfc3339(now),
                "Partner_Choice__c": choice("None"), "Notice__c": notice, "Consent_At__c": when, "Consent_Source__c": by("Web form", "Import"),
                "Consented_Email__c": point(&self.email), "Consented_Phone__c": point(&self.phone), "Stop__c": "no",
            }),
            _ => json!({
                "party.name": format!("{} {}", self.first, self.last), "party.email": email, "party.phone": self.phone, "party.country": "NL",
                "start_date": rfc3339(now).get(..10).unwrap_or_default(),
                // Only the form writes the notice's id; without it nothing was chosen.
                "description": if consent == Consent::Given { notice } else { json!("imported") },
                "comment": if matches!(consent, Consent::None | Consent::Nobody) { json!("") } else { json!(chosen.join(";")) },
            }),
        };
        let mut fields: Fields = serde_json::from_value(all).unwrap_or_default();
        fields.retain(|_, value| !value.is_null());
        fields
    }
}
