//! The rules in force: the program and the mappings, as one snapshot that is swapped whole.

use std::collections::BTreeMap;

use crate::http::line::Line;
use crate::http::lines::Lines;
use crate::mapping::Mapping;
use crate::program::Program;

/// What decides and translates. A stage takes one snapshot and works with it to its end. A clone is at rest.
#[derive(Clone)]
pub struct Rules {
    /// Partners, agreements, notices, lists, messages.
    pub program: Program,
    /// Mappings by connection.
    pub mappings: BTreeMap<String, Vec<Mapping>>,
}

impl Rules {
    /// The mappings of a connection.
    pub fn of(&self, connection: &str) -> &[Mapping] {
        self.mappings.get(connection).map_or(&[], Vec::as_slice)
    }

    /// The mapping of one object of a connection.
    pub fn mapping(&self, connection: &str, object: &str) -> Option<&Mapping> {
        self.of(connection).iter().find(|m| m.object() == object)
    }

    /// Where a partner receives leads: its first receiving connection, by name, with its mapping.
    pub fn receiving<'a>(&'a self, lines: &'a Lines, partner: &str) -> Option<(&'a Line, &'a Mapping)> {
        let lines = lines.of_partner(partner).iter().filter(|line| line.role().receives());
        lines.map(|line| &**line).find_map(|line| Some((line, self.of(line.name()).first()?)))
    }
}
