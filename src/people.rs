//! People: whose lead it is, under which key its data is sealed, and by what it is found again.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::errors::{Error, Result};
use crate::mapping::transform::contact;
use crate::model::Lead;
use crate::store::{Tx, people};
use crate::vault::{Aad, DataKey, Identity, Owner, Vault};

/// What a lead is known and suppressed by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hashes {
    /// The hash that names the person: of the e-mail address, or of the phone number without one.
    pub identity: Option<String>,
    /// The identity in clear with its kind, for the marker.
    pub identity_key: Option<String>,
    /// Every hash that a suppression may stand under, with its scope word.
    pub suppressible: Vec<(String, &'static str)>,
}

/// The hashes of a lead. A phone number names a person only where there is no address: colleagues share numbers. Whoever has an address at
/// a part of a domain (`jo@mail.firm.example`) belongs to the domain.
pub fn hashes(vault: &Vault, lead: &Lead) -> Hashes {
    let mut found = Hashes::default();
    let host = lead.text("email").and_then(|email| email.rsplit_once('@')).map(|(_, host)| host);
    let persons = [(Identity::Email, lead.text("email")), (Identity::Phone, lead.text("phone")), (Identity::Phone, lead.text("mobile"))];
    let persons = persons.into_iter().filter_map(|(kind, value)| Some((kind, value?)));
    let mut domains: Vec<&str> = [lead.text("company_domain"), host].into_iter().flatten().flat_map(with_parents).collect();
    domains.sort_unstable_by_key(|domain| (std::cmp::Reverse(domain.len()), *domain));
    domains.dedup();
    for (kind, value) in persons {
        let hash = vault.blind.hash(kind, value);
        if found.identity.is_none() {
            found.identity = Some(hash.clone());
            found.identity_key = Some(format!("{}:{value}", kind.word()));
        }
        if !found.suppressible.iter().any(|(known, _)| *known == hash) {
            found.suppressible.push((hash, "person"));
        }
    }
    found.suppressible.extend(domains.into_iter().map(|domain| (vault.blind.hash(Identity::Domain, domain), "domain")));
    found
}

/// A domain and those that it is a part of, the longest first.
fn with_parents(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(domain), |domain| domain.split_once('.').map(|(_, parent)| parent)).filter(|domain| domain.contains('.'))
}

/// What somebody typed to name a person or a company, as a lead that has only this: an e-mail address, a phone number with its
/// country, or a domain.
///
/// # Errors
/// [`Error::BadRequest`] when it is none of them.
pub fn known_as(typed: &str) -> Result<Lead> {
    let number = || contact::e164(typed, None);
    let (field, value, wanted) = if typed.trim().trim_start_matches('@').contains('@') {
        ("email", contact::email(typed), "an e-mail address that could receive mail")
    } else if typed.contains(char::is_alphabetic) && number().is_none() {
        (
            "company_domain",
            contact::domain(typed),
            "an e-mail address, nor a phone number with its country, nor a domain such as firm.example",
        )
    } else {
        ("phone", number(), "a phone number with its country, such as +4930901820")
    };
    let value = value.ok_or_else(|| Error::BadRequest(format!("this is not {wanted}")))?;
    Ok(Lead { fields: [(field.to_owned(), Value::String(value))].into(), ..Lead::default() })
}

/// Data keys at hand, by person.
#[derive(Default)]
pub struct Keys(BTreeMap<String, DataKey>);

impl Keys {
    /// Loads the keys of these people; one that is gone is absent, and so is the person's data.
    pub async fn load(tx: &mut Tx, vault: &Vault, ids: impl IntoIterator<Item = &str>) -> Result<Self> {
        let wanted =
            Value::from(ids.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().map(|id| json!([id])).collect::<Vec<_>>());
        Self::of(vault, people::lock(tx, &wanted).await?)
    }

    /// The same for the people of shares (`[[share], …]`).
    ///
    /// # Errors
    /// As [`Keys::load`].
    pub async fn of_shares(tx: &mut Tx, vault: &Vault, shares: &Value) -> Result<Self> {
        Self::of(vault, people::lock_of_shares(tx, shares).await?)
    }

    fn of(vault: &Vault, locked: Vec<(String, Option<String>, Option<i64>)>) -> Result<Self> {
        let mut keys = Self::default();
        for (id, wrapped, _) in locked {
            if let Some(wrapped) = wrapped {
                keys.add(vault, &id, &wrapped)?;
            }
        }
        Ok(keys)
    }

    /// Takes up a key as it is stored.
    pub fn add(&mut self, vault: &Vault, person: &str, wrapped: &str) -> Result<()> {
        let key = DataKey::unwrap(&vault.keys, Owner::Person(person), wrapped)?;
        self.0.insert(person.to_owned(), key);
        Ok(())
    }

    /// Makes a key for a new person; answers it as it is to be stored.
    pub fn make(&mut self, vault: &Vault, clock: &Clock, person: &str) -> Result<String> {
        let key = DataKey::generate(clock, Owner::Person(person))?;
        let wrapped = key.wrap(&vault.keys, clock)?;
        self.0.insert(person.to_owned(), key);
        Ok(wrapped)
    }

    /// Seals something of a person.
    pub fn seal(&self, clock: &Clock, person: &str, place: Aad<'_>, value: &impl Serialize) -> Result<String> {
        let key = self.0.get(person).ok_or_else(|| Error::Vault("this person's key is gone: they were erased".into()))?;
        let plain = serde_json::to_vec(value).map_err(|_| Error::Unreadable { what: "a value to seal".into() })?;
        key.seal(clock, place, &plain)
    }

    /// Opens something of a person; `None` when their key is gone.
    pub fn open<T: DeserializeOwned>(&self, person: &str, place: Aad<'_>, sealed: &str) -> Result<Option<T>> {
        let Some(key) = self.0.get(person) else { return Ok(None) };
        let plain = key.open(place, sealed)?;
        serde_json::from_slice(&plain).map(Some).map_err(|_| Error::Unreadable { what: "a sealed value".into() })
    }
}

/// Where a lead's data is sealed: rows of one person move with the lead's id.
pub fn lead_place(lead: &str) -> Aad<'_> {
    Aad::new("leads", lead, "data")
}

/// Where the proof of consent that a share rests on is sealed.
pub fn proof_place(share: &str) -> Aad<'_> {
    Aad::new("consents", share, "proof")
}

/// Where a remote person's shadow is sealed.
pub fn shadow_place(person: &str) -> Aad<'_> {
    Aad::new("remote_people", person, "shadow")
}
