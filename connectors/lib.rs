//! How leadshare speaks to each vendor.
//!
//! Facts are declared in each folder's `manifest.toml`, behaviour is typed code beside it, and no
//! connector does I/O: a [`sdk::Talk`] asks for requests and hears answers, and the daemon sends
//! them. This crate knows *records* as a vendor has them; what a lead is, it does not know.
//!
//! Adding a vendor is one folder and one line in [`all`].
#![forbid(unsafe_code)]

pub mod hubspot;
pub mod salesforce;
pub mod sdk;
pub mod tryton;

use sdk::{Connector, Sandbox};

/// One vendor: its connector, and the simulator that stands in for it in the demo and the tests.
pub struct Entry {
    /// The name used in mapping files and on the command line.
    pub name: &'static str,
    /// Makes the connector (parses its manifest).
    pub connector: fn() -> Box<dyn Connector>,
    /// Makes an empty simulator; the seed feeds ids and codes.
    pub sandbox: fn(seed: u64) -> Box<dyn Sandbox>,
}

/// Every vendor, one line each.
pub fn all() -> &'static [Entry] {
    &[
        Entry {
            name: "hubspot",
            connector: || Box::new(hubspot::HubSpot::new()),
            sandbox: |seed| Box::new(hubspot::sandbox::HubSpotSandbox::new(seed)),
        },
        Entry {
            name: "salesforce",
            connector: || Box::new(salesforce::Salesforce::new()),
            sandbox: |seed| Box::new(salesforce::sandbox::SalesforceSandbox::new(seed)),
        },
        Entry {
            name: "tryton",
            connector: || Box::new(tryton::Tryton::new()),
            sandbox: |seed| Box::new(tryton::sandbox::TrytonSandbox::new(seed)),
        },
    ]
}

/// The vendor of this name, or `None`.
pub fn by_name(name: &str) -> Option<&'static Entry> {
    all().iter().find(|entry| entry.name == name)
}
