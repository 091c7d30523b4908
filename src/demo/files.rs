//! The worked example that the demo runs: the program and the mappings that ship with the source.

/// A file of the example: folder and name, text.
pub type Example = (&'static str, &'static str);

macro_rules! example {
    ($($path:literal),* $(,)?) => { &[$(($path, include_str!(concat!("../../", $path)))),*] };
}

/// Every file of the example program.
pub const FILES: &[Example] = example![
    "program/partners/northwind.toml",
    "program/partners/brightwater.toml",
    "program/partners/lumen.toml",
    "program/partners/tessera.toml",
    "program/partners/orchard.toml",
    "program/agreements/northwind-brightwater.toml",
    "program/agreements/lumen-tessera.toml",
    "program/agreements/northwind-orchard.toml",
    "program/agreements/orchard-northwind.toml",
    "program/notices/setup-help-2026.toml",
    "program/notices/analytics-2026.toml",
    "program/notices/webinar-2026.toml",
    "program/notices/webinar-orchard-2026.toml",
    "program/lists/competitors.csv",
    "program/lists/named-accounts.csv",
    "program/messages/brightwater-art14.md",
    "program/messages/tessera-art14.md",
    "program/messages/orchard-art14.md",
    "program/messages/northwind-art14.md",
    "program/messages/introduction.md",
    "mappings/northwind.toml",
    "mappings/brightwater.toml",
    "mappings/lumen.toml",
    "mappings/tessera.toml",
    "mappings/orchard.toml",
];
