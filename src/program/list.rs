//! Lists (CSV): companies, domains or other values that conditions and exclusivity refer to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::errors::{Diagnostic, did_you_mean};

/// The columns that a list may have.
pub const COLUMNS: &[&str] = &["domain", "parent", "company", "email", "value", "note"];

/// A list by column: normalised values that something can be looked up in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct List {
    columns: BTreeMap<String, BTreeSet<String>>,
}

impl List {
    /// Whether a domain, or a domain that it lies under, is listed as a company's or its parent's.
    pub fn has_domain(&self, domain: &str) -> bool {
        let columns: Vec<&BTreeSet<String>> = ["domain", "parent"].into_iter().filter_map(|column| self.columns.get(column)).collect();
        if columns.is_empty() {
            return false;
        }
        let domain = domain.trim().to_lowercase();
        let mut rest = Some(domain.as_str());
        while let Some(name) = rest {
            if columns.iter().any(|column| column.contains(name)) {
                return true;
            }
            rest = name.split_once('.').map(|(_, parent)| parent);
        }
        false
    }

    /// Whether a company is listed by name.
    pub fn has_company(&self, company: &str) -> bool {
        self.columns.get("company").is_some_and(|companies| companies.contains(&company_key(company)))
    }

    /// Whether an address, or its domain, is listed.
    pub fn has_email(&self, email: &str) -> bool {
        let email = email.trim().to_lowercase();
        self.has("email", &email) || email.rsplit_once('@').is_some_and(|(_, domain)| self.has_domain(domain))
    }

    /// Whether another value is listed.
    pub fn has_value(&self, value: &str) -> bool {
        self.has("value", &value.trim().to_lowercase())
    }

    fn has(&self, column: &str, value: &str) -> bool {
        self.columns.get(column).is_some_and(|values| values.contains(value))
    }

    /// How many different values it has, notes aside.
    pub fn len(&self) -> usize {
        self.columns.values().map(BTreeSet::len).sum()
    }

    /// Whether it lists nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A company's name without case, punctuation and double spaces.
fn company_key(name: &str) -> String {
    let letters: String = name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    letters.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a list. The first line names the columns.
///
/// # Errors
/// Every line that cannot be meant.
pub fn parse(file: &str, text: &str) -> Result<List, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let rows = cells(file, text, &mut found);
    let Some((head, body)) = rows.split_first() else {
        found.push(
            Diagnostic::whole(file, "list.empty", "the list has no header line").hint(format!("the columns are: {}", COLUMNS.join(", "))),
        );
        return Err(found);
    };
    let mut columns = Vec::new();
    for cell in head {
        let name = cell.text.trim().trim_start_matches('\u{feff}').to_lowercase();
        if !COLUMNS.contains(&name.as_str()) {
            let list = format!("the columns are: {}", COLUMNS.join(", "));
            let hint = did_you_mean(&name, COLUMNS.iter().copied()).map_or(list, |near| format!("did you mean `{near}`?"));
            found.push(Diagnostic::at(file, text, cell.at, "list.unknown_column", format!("`{name}` is not a column")).hint(hint));
        } else if columns.contains(&name) {
            found.push(Diagnostic::at(file, text, cell.at, "list.twice", format!("the column `{name}` stands here twice")));
        }
        columns.push(name);
    }
    let mut list = List::default();
    for row in body {
        if let Some(first) = row.first()
            && row.len() != columns.len()
        {
            let message = format!("this line has {} values, the header has {}", row.len(), columns.len());
            found.push(Diagnostic::at(file, text, first.at, "list.uneven", message).hint("put values with commas into \"quotes\""));
            continue;
        }
        for (column, cell) in columns.iter().zip(row) {
            let value = cell.text.trim().to_lowercase();
            let value = match column.as_str() {
                "note" => continue,
                "company" => company_key(&value),
                "domain" | "parent" if !value.is_empty() && !is_domain(&value) => {
                    let message = format!("`{column}` holds no domain");
                    found.push(Diagnostic::at(file, text, cell.at, "list.domain", message).hint("write a bare domain such as example.com"));
                    continue;
                }
                _ => value,
            };
            if !value.is_empty() {
                list.columns.entry(column.clone()).or_default().insert(value);
            }
        }
    }
    found.sort_by_key(|d| (d.line, d.column));
    if found.is_empty() { Ok(list) } else { Err(found) }
}

/// Whether a text has the shape of a domain.
pub fn is_domain(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('-') && part.chars().all(|c| c.is_alphanumeric() || c == '-');
    text.contains('.') && text.split('.').all(part)
}

struct Cell {
    text: String,
    at: usize,
}

/// Splits CSV text (RFC 4180) into rows; empty lines are left out.
fn cells(file: &str, text: &str, found: &mut Vec<Diagnostic>) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut cell = Cell { text: String::new(), at: 0 };
    let mut quoted = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (quoted, c) {
            (Some(_), '"') if chars.next_if(|(_, next)| *next == '"').is_some() => cell.text.push('"'),
            (Some(_), '"') => quoted = None,
            (None, '"') if cell.text.is_empty() => quoted = Some(at),
            (None, ',') => row.push(std::mem::replace(&mut cell, Cell { text: String::new(), at: at + 1 })),
            (None, '\n') => {
                row.push(std::mem::replace(&mut cell, Cell { text: String::new(), at: at + 1 }));
                rows.push(std::mem::take(&mut row));
            }
            (None, '\r') => {}
            (_, c) => cell.text.push(c),
        }
    }
    if let Some(at) = quoted {
        found.push(
            Diagnostic::at(file, text, at, "list.quote", "this quote is never closed").hint("close it, or write \"\" for a quote inside"),
        );
    }
    row.push(cell);
    rows.push(row);
    rows.retain(|row| row.len() > 1 || row.first().is_some_and(|cell| !cell.text.trim().is_empty()));
    rows
}
