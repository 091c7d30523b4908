//! The integration tests: one binary, real parts.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod architecture;
mod claims;
mod clients;
mod commands;
mod conformance;
mod consent;
mod dropped;
mod echo;
mod exactly_once;
mod files;
mod lanes;
mod late;
mod ledger;
mod oidc;
mod outcomes;
mod rates;
mod replicas;
mod retention;
mod simulate;
mod statements;
mod store;
mod support;
mod token_trouble;
mod tokens;
mod tryton;
mod waits;
mod way;
mod webhooks;
