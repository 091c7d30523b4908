//! What a lead waits for that can pass while nothing about the lead changes.

use crate::clock::{DAY, Millis, rfc3339};

/// What stands against sharing a lead for now. Nothing that its person said, or did not say, is among these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// Room under an agreement: this cap was full.
    Room(Cap, String),
    /// This agreement must come into force.
    InForce(String),
    /// There must be an agreement: with this partner, or with anybody at all.
    Agreement(Option<String>),
    /// This partner must go on.
    Pause(String),
    /// This partner must have a connection that receives.
    Receiver(String),
    /// The connection must not only observe.
    Observing,
    /// The mapping must be another than this one.
    Mapping(String),
    /// An agreement must be another than this version.
    Edit(String, String),
}

/// Which cap was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cap {
    /// Leads that are worked on.
    Open,
    /// Leads of a day, in UTC.
    Day,
    /// Leads of a month, in UTC.
    Month,
}

/// What is kept of one thing that a record waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What for.
    pub what: Wait,
    /// Since when.
    pub since: Millis,
    /// From when on it may be looked at; `None` while that is under way.
    pub look_at: Option<Millis>,
}

/// How long a lead waits for one thing: nobody expects to hear of what they asked for so long ago.
pub const LONGEST: Millis = 90 * DAY;

impl Wait {
    /// The stable word, as it is stored: a code and what it is about.
    pub fn word(&self) -> String {
        match self {
            Self::Room(Cap::Open, agreement) => format!("capacity.open {agreement}"),
            Self::Room(Cap::Day, agreement) => format!("capacity.day {agreement}"),
            Self::Room(Cap::Month, agreement) => format!("capacity.month {agreement}"),
            Self::InForce(agreement) => format!("agreement.not_in_force {agreement}"),
            Self::Agreement(None) => "agreement.none".to_owned(),
            Self::Agreement(Some(partner)) => format!("agreement.none {partner}"),
            Self::Pause(partner) => format!("standing.paused {partner}"),
            Self::Receiver(partner) => format!("connection.none {partner}"),
            Self::Observing => "connection.observing".to_owned(),
            Self::Mapping(hash) => format!("mapping.unread {hash}"),
            Self::Edit(agreement, version) => format!("agreement.version {agreement} {version}"),
        }
    }

    /// Reads the stable word.
    pub fn parse(word: &str) -> Option<Self> {
        let mut parts = word.splitn(3, ' ');
        let (code, mut part) = (parts.next()?, || parts.next().map(str::to_owned));
        Some(match code {
            "capacity.open" => Self::Room(Cap::Open, part()?),
            "capacity.day" => Self::Room(Cap::Day, part()?),
            "capacity.month" => Self::Room(Cap::Month, part()?),
            "agreement.not_in_force" => Self::InForce(part()?),
            "agreement.none" => Self::Agreement(part()),
            "standing.paused" => Self::Pause(part()?),
            "connection.none" => Self::Receiver(part()?),
            "connection.observing" => Self::Observing,
            "mapping.unread" => Self::Mapping(part()?),
            "agreement.version" => Self::Edit(part()?, part()?),
            _ => return None,
        })
    }

    /// What must happen, in plain words.
    fn words(&self) -> String {
        match self {
            Self::Room(Cap::Open, agreement) => format!("room under {agreement}, whose recipient has as many open leads as it takes"),
            Self::Room(Cap::Day, agreement) => format!("room under {agreement}, which takes no more leads today (UTC)"),
            Self::Room(Cap::Month, agreement) => format!("room under {agreement}, which takes no more leads this month (UTC)"),
            Self::InForce(agreement) => format!("{agreement} to be in force"),
            Self::Agreement(None) => "an agreement under which it may be shared".to_owned(),
            Self::Agreement(Some(partner)) => format!("an agreement with {partner}, whom the person chose"),
            Self::Pause(partner) => format!("{partner} to go on, which is paused"),
            Self::Receiver(partner) => format!("a connection on which {partner} receives leads"),
            Self::Observing => "its connection to share, which only observes".to_owned(),
            Self::Mapping(_) => "the mapping to be mended".to_owned(),
            Self::Edit(agreement, _) => format!("an edit of {agreement}"),
        }
    }

    /// From when on it can have passed, where that is known; `begins` tells when an agreement does.
    fn foreseen(&self, now: Millis, begins: impl Fn(&str) -> Option<Millis>) -> Option<Millis> {
        match self {
            Self::Room(Cap::Day, _) => Some(now - now.rem_euclid(DAY) + DAY),
            Self::Room(Cap::Month, _) => {
                let day = jiff::Timestamp::from_millisecond(now).ok()?.to_zoned(jiff::tz::TimeZone::UTC).date();
                let next = day.last_of_month().tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
                Some(next.timestamp().as_millisecond())
            }
            Self::InForce(agreement) => begins(agreement),
            _ => None,
        }
    }
}

impl Waiting {
    /// As it is stored; `None` when another version wrote it.
    pub fn read(what: &str, since: Millis, look_at: Option<Millis>) -> Option<Self> {
        Some(Self { what: Wait::parse(what)?, since, look_at })
    }

    /// What it waits for and when it is looked at next, in plain words.
    pub fn told(&self, now: Millis, begins: impl Fn(&str) -> Option<Millis>) -> String {
        let later = self.look_at.filter(|at| *at > now);
        let next = match self.what.foreseen(now, begins).max(later) {
            _ if self.since + LONGEST <= now => format!("no longer looked at by itself after {} days", LONGEST / DAY),
            _ if self.look_at.is_none() => "looked at now".to_owned(),
            Some(at) => format!("looked at with the first poll from {} on", rfc3339(at)),
            None => "looked at with the first poll after that".to_owned(),
        };
        format!("waits for {}: {next}", self.what.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> Vec<Wait> {
        let name = || "northwind-brightwater".to_owned();
        let caps = [Cap::Open, Cap::Day, Cap::Month].map(|cap| Wait::Room(cap, name()));
        let others = [
            Wait::InForce(name()),
            Wait::Agreement(None),
            Wait::Agreement(Some(name())),
            Wait::Pause(name()),
            Wait::Receiver(name()),
            Wait::Observing,
            Wait::Mapping("9f2c".into()),
            Wait::Edit(name(), "9f2c".into()),
        ];
        caps.into_iter().chain(others).collect()
    }

    // Breaks when what is stored reads back as something else: such a lead would be looked at for the wrong reason, or never.
    #[test]
    fn words_read_back() {
        for wait in every() {
            assert_eq!(Wait::parse(&wait.word()), Some(wait));
        }
    }

    // Breaks when somebody who asks is told a wrong time, or none where one is known.
    #[test]
    fn it_says_when_it_is_looked_at_next() {
        // 30 November 2026, 13:00 UTC.
        let now = 1_796_043_600_000;
        let told = |what, look_at, begins: Option<Millis>| Waiting { what, since: now - DAY, look_at }.told(now, |_| begins);
        let name = || "a-b".to_owned();
        assert!(told(Wait::Room(Cap::Day, name()), Some(now), None).contains("2026-12-01T00:00:00Z"));
        assert!(told(Wait::Room(Cap::Month, name()), Some(now), None).contains("2026-12-01T00:00:00Z"));
        assert!(told(Wait::InForce(name()), Some(now), Some(now + DAY)).contains("2026-12-01T13:00:00Z"));
        assert!(told(Wait::Room(Cap::Open, name()), Some(now), None).ends_with("the first poll after that"));
        assert!(told(Wait::Room(Cap::Open, name()), Some(now + 60_000), None).contains("2026-11-30T13:01:00Z"));
        assert!(told(Wait::Observing, None, None).ends_with("looked at now"));
        let old = Waiting { what: Wait::Observing, since: now - LONGEST, look_at: Some(now) };
        assert!(old.told(now, |_| None).contains("90 days"));
    }
}
