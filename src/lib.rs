//! leadshare shares leads between partner companies' systems, under their agreements.
#![forbid(unsafe_code)]

pub mod change;
pub mod cli;
pub mod clock;
pub mod config;
pub mod context;
pub mod daemon;
pub mod decide;
pub mod delivery;
pub mod demo;
pub mod entries;
pub mod errors;
pub mod follow;
pub mod http;
pub mod intake;
pub mod ledger;
pub mod mapping;
pub mod metrics;
pub mod model;
pub mod oauth;
pub mod people;
pub mod pipeline;
pub mod program;
pub mod publish;
pub mod rules;
pub mod sandbox;
pub mod sealer;
pub mod service;
pub mod shares;
pub mod standing;
pub mod store;
pub mod summary;
pub mod telemetry;
pub mod vault;
pub mod web;
