//! Random programs: partners on simulated systems, who shares with whom, and the files that say so.

use std::fmt::Write as _;

use super::rng::Rng;
use crate::http::line::Role;
use crate::program;

/// How many different programs there are; a seed picks one.
pub const SHAPES: u64 = 48;

/// A partner with its system.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The partner, which is also the connection.
    pub name: &'static str,
    /// How sources' forms call it.
    pub word: &'static str,
    /// Its name in contracts.
    pub legal: String,
    /// The vendor.
    pub connector: &'static str,
    /// What the connection is for.
    pub role: Role,
}

impl Actor {
    /// The lead object there.
    pub fn object(&self) -> &'static str {
        match self.connector {
            "hubspot" => "contact",
            "salesforce" => "Lead",
            _ => "sale.opportunity",
        }
    }

    /// The field that holds the address.
    pub fn email_field(&self) -> &'static str {
        match self.connector {
            "hubspot" => "email",
            "salesforce" => "Email",
            _ => "party.email",
        }
    }

    /// The field that holds our marker.
    pub fn marker_field(&self) -> &'static str {
        match self.connector {
            "hubspot" => "leadshare_id",
            "salesforce" => "Leadshare_Id__c",
            _ => "reference",
        }
    }

    /// Where its system answers.
    pub fn host(&self) -> String {
        format!("{}.sim.example", self.name)
    }

    /// The notice that its forms show.
    pub fn notice(&self) -> String {
        format!("{}-2026", self.name)
    }
}

/// A program: who takes part, and which agreements there are (source and recipient as places in `actors`).
#[derive(Debug, Clone)]
pub struct Shape {
    /// The partners.
    pub actors: Vec<Actor>,
    /// The agreements.
    pub edges: Vec<(usize, usize)>,
    /// The lead fields that agreements list.
    pub fields: Vec<&'static str>,
}

const NAMES: [(&str, &str); 4] = [("alder", "Alder"), ("birch", "Birch"), ("cedar", "Cedar"), ("dogwood", "Dogwood")];
const CONNECTORS: [&str; 3] = ["hubspot", "salesforce", "tryton"];

impl Shape {
    /// The program of this number.
    pub fn new(number: u64) -> Self {
        let mut rng = Rng::new(number, 1);
        let count = 2 + rng.below(3);
        let actors: Vec<Actor> = (0..count)
            .map(|i| {
                let (name, word) = NAMES[i];
                let role = match (i, rng.below(3)) {
                    (_, 0) => Role::Both,
                    (0, _) | (2.., 1) => Role::Source,
                    _ => Role::Recipient,
                };
                // The second receives from the first, so it must be able to.
                let connector = match (i, CONNECTORS[rng.below(3)]) {
                    (0, "tryton") => "hubspot",
                    (_, connector) => connector,
                };
                Actor { name, word, legal: format!("{word} Sales B.V."), connector, role }
            })
            .collect();
        let mut edges = Vec::new();
        for (from, source) in actors.iter().enumerate() {
            for (to, recipient) in actors.iter().enumerate() {
                // A Tryton lead names no company, and a Salesforce lead must have one.
                let can = from != to && source.role.shares() && recipient.role.receives();
                let fits = (source.connector, recipient.connector) != ("tryton", "salesforce");
                if can && fits && ((from, to) == (0, 1) || rng.chance(650)) {
                    edges.push((from, to));
                }
            }
        }
        let mut fields = vec!["email", "last_name", "full_name", "company", "country"];
        for more in ["first_name", "phone"] {
            if rng.chance(600) {
                fields.push(more);
            }
        }
        Self { actors, edges, fields }
    }

    /// To whom a source shares.
    pub fn recipients(&self, source: usize) -> Vec<usize> {
        self.edges.iter().filter(|(from, _)| *from == source).map(|(_, to)| *to).collect()
    }

    /// The files of the program: path and text.
    pub fn files(&self) -> Vec<(String, String)> {
        let mut files = vec![("program/messages/note.md".to_owned(), "We got your details from a partner whom you asked to.\n".to_owned())];
        for (i, actor) in self.actors.iter().enumerate() {
            files.push((format!("program/partners/{}.toml", actor.name), partner(actor)));
            files.push((format!("mappings/{}.toml", actor.name), self.mapping(i, &[])));
            if actor.role.shares() {
                files.push((format!("program/notices/{}.toml", actor.notice()), self.notice(i)));
            }
        }
        for (from, to) in &self.edges {
            files.push((self.agreement_path(*from, *to), self.agreement(*from, *to, 1, &self.fields, "2030-12-31")));
        }
        files
    }

    /// The file of an agreement.
    pub fn agreement_path(&self, from: usize, to: usize) -> String {
        format!("program/agreements/{}-{}.toml", self.actors[from].name, self.actors[to].name)
    }

    /// An agreement, signed by both.
    pub fn agreement(&self, from: usize, to: usize, version: u32, fields: &[&str], until: &str) -> String {
        let terms = self.terms(from, to, version, fields, until);
        let hash = program::terms_hash(&terms).unwrap_or_default();
        let mut text = terms;
        let _ = write!(
            text,
            "\n[signing]\nsigned = [\n  {{ party = \"source\", by = \"A. Source\", at = 2026-01-02T10:00:00Z, terms = \"{hash}\" }},\n  {{ party = \"recipient\", by = \"B. Recipient\", at = 2026-01-03T10:00:00Z, terms = \"{hash}\" }},\n]\n"
        );
        text
    }

    /// The same without signatures.
    pub fn terms(&self, from: usize, to: usize, version: u32, fields: &[&str], until: &str) -> String {
        let (source, recipient) = (&self.actors[from], &self.actors[to]);
        include_str!("agreement.toml")
            .replace("{source}", source.name)
            .replace("{recipient}", recipient.name)
            .replace("{source_legal}", &source.legal)
            .replace("{recipient_legal}", &recipient.legal)
            .replace("{notice}", &source.notice())
            .replace("{version}", &version.to_string())
            .replace("{until}", until)
            .replace("{recipients}", &self.actors.len().to_string())
            .replace("{fields}", &fields.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join(", "))
    }

    fn notice(&self, i: usize) -> String {
        let others: Vec<&str> = self.actors.iter().filter(|a| a.name != self.actors[i].name).map(|a| a.legal.as_str()).collect();
        format!(
            "controller = {:?}\ntext = \"Those whom I tick may write to me or ring me about what I asked for: {}.\"\nlanguage = \"en\"\nrecipients = {others:?}\npurposes = [\"introduce\", \"contact\"]\nchannels = [\"email\", \"phone\"]\nshown = {{ from = 2026-01-01, zone = \"Europe/Amsterdam\" }}\n",
            self.actors[i].legal,
            others.join(", ")
        )
    }

    /// The mapping of a partner's system, without the lines of these lead fields.
    pub fn mapping(&self, i: usize, without: &[&str]) -> String {
        let actor = &self.actors[i];
        let text = match actor.connector {
            "hubspot" => include_str!("hubspot.toml"),
            "salesforce" => include_str!("salesforce.toml"),
            _ => include_str!("tryton.toml"),
        };
        let choices: Vec<String> =
            self.actors.iter().filter(|a| a.name != actor.name).map(|a| format!("{} = {:?}", a.word, a.name)).collect();
        let text = text.replace("{partner}", actor.name).replace("{choices}", &choices.join(", ")).replace("{notice}", &actor.notice());
        let kept: Vec<&str> = text.lines().filter(|line| !without.iter().any(|field| line.starts_with(&format!("{field} ")))).collect();
        kept.join("\n") + "\n"
    }
}

fn partner(actor: &Actor) -> String {
    format!(
        "legal_name = {:?}\nkind = \"vendor\"\ncountry = \"NL\"\ndomains = [\"{1}.example\"]\ncontacts = {{ business = \"partners@{1}.example\", privacy = \"privacy@{1}.example\" }}\ncalendar = {{ zone = \"Europe/Amsterdam\" }}\nlanguages = [\"en\"]\nspecialisations = [\"cloud\"]\nsigners = [\"A. Source\", \"B. Recipient\"]\n",
        actor.legal, actor.name
    )
}
