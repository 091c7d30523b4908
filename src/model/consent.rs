//! Consent: what a source's record claims, and the proof that is kept.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// A way to reach a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// E-mail.
    Email,
    /// Calls and texts.
    Phone,
    /// Post.
    Post,
}

/// Where the person is: decides the law.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// ISO 3166-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// An opt-out found in the source's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The vendor's field or list that says so.
    pub said_by: String,
    /// The channels that it blocks; empty = all sharing.
    pub blocks: BTreeSet<Channel>,
}

/// What a source's record says about consent. Nothing here is proof until a gate has checked it
/// against the notice and the agreement.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConsentClaim {
    /// Partners (by our names) that the person chose by name.
    pub choices: BTreeSet<String>,
    /// The person chose "nobody".
    pub nobody: bool,
    /// The notice that the person was shown, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// When the person said yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_at: Option<Millis>,
    /// Who recorded the yes, in the vendor's word (`FORM`, `IMPORT`), when the mapping asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_by: Option<String>,
    /// Whether whoever recorded it counts as the person, as the mapping lists it. `false` = it does not.
    pub set_by_person: bool,
    /// The address or number consented to, normalised.
    pub contact_points: BTreeMap<Channel, String>,
    /// When a double opt-in was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Millis>,
    /// The form's address as shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// A certificate's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Where the person is.
    pub place: Place,
    /// Flags such as `minor`, `health`, `gpc` that are set.
    pub flags: BTreeSet<String>,
    /// Opt-outs.
    pub stops: Vec<Stop>,
    /// Fields that should tell of an opt-out and were not readable: not the same as "not opted out".
    pub unreadable_stops: Vec<String>,
    /// When the source recorded a withdrawal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<Millis>,
}

impl ConsentClaim {
    /// Takes over every no of another reading that cannot be taken over as a whole, and none of its yeses. What was not chosen
    /// is a no in the `same` record only: elsewhere nobody may have been asked.
    pub fn heed(&mut self, later: &Self, same: bool) {
        self.choices.retain(|partner| !same || later.choices.contains(partner));
        self.nobody |= later.nobody;
        self.flags.extend(later.flags.iter().cloned());
        for stop in &later.stops {
            if !self.stops.contains(stop) {
                self.stops.push(stop.clone());
            }
        }
        // One that a new yes followed there is none any more.
        let standing = later.withdrawn_at.filter(|no| later.given_at.is_none_or(|yes| yes <= *no));
        self.withdrawn_at = self.withdrawn_at.max(standing);
    }
}

impl std::fmt::Debug for ConsentClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsentClaim").field("choices", &self.choices).field("notice", &self.notice).finish_non_exhaustive()
    }
}

/// Kept proof of one permission: one purpose, one channel, one recipient (after ISO/IEC TS 27560).
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsentRecord {
    /// The controller that asked, by its legal name.
    pub controller: String,
    /// The recipient partner by our name.
    pub recipient: String,
    /// The recipient's legal entity as the notice named it.
    pub recipient_legal_name: String,
    /// The purpose's id in the agreement.
    pub purpose: String,
    /// The channel; `None` for the act of giving the name.
    pub channel: Option<Channel>,
    /// The legal basis.
    pub basis: String,
    /// The notice's id.
    pub notice: Option<String>,
    /// The notice's version: hash of its values.
    pub notice_version: Option<String>,
    /// The notice's language.
    pub language: Option<String>,
    /// When it was given.
    pub given_at: Option<Millis>,
    /// How: the form's address, who recorded it, the certificate.
    pub method: Option<String>,
    /// The address or number consented to.
    pub contact_point: Option<String>,
    /// Where the person is, and thereby the law.
    pub place: Option<String>,
}
