//! leadshare shares leads between partner companies' systems, under their agreements.
//!
//! One daemon reads the sharing partners' CRMs, decides for each new or changed lead whether, with whom and with which
//! fields it may be shared, writes it into the receiving partner's own CRM, follows what becomes of it there, and tells
//! the sharer in the sharer's CRM. Every step is one database transaction, explained and kept.
//!
//! # Where to begin
//!
//! [`pipeline`] is the way of one lead, stage by stage; [`daemon`] is how everything is put together and started.
//! What a vendor is like is in the crate `leadshare-connectors` (`connectors/lib.rs`), which knows nothing of this one.
//!
//! # Code map
//!
//! From the bottom up. A module uses only modules above it; which ones is a table in `tests/it/architecture.rs`, and
//! an edge that is not in the table fails the tests.
//!
//! What everything stands on:
//!
//! - [`clock`]: time, ids and randomness, injected; nothing else reads the machine's.
//! - [`points`]: named points at which a crash must lose nothing; nothing happens there in service.
//! - [`errors`]: errors with stable codes; diagnostics with file, line, column and a hint.
//! - [`model`]: leads, consent, agreements, decisions, and where a share stands. Pure data.
//! - [`metrics`]: what is counted, and its page.
//! - [`kept`]: what a file says, read from its text when it is first asked for.
//! - `alike`: what many connections have alike, kept once.
//! - [`turns`]: which connections have their turn now, and when others are let through.
//!
//! Pure, the same answer to the same question:
//!
//! - [`mapping`]: a mapping file, compiled; records to leads and back, consent, status words.
//! - [`program`]: partners, agreements, notices and lists, from text to a checked whole (`folder` alone reads files).
//! - [`decide`]: gates and ranking: with whom a lead is shared, and why not.
//!
//! Keys, proof and rows:
//!
//! - [`vault`]: sealing, blind hashes, markers, and one key per person.
//! - [`ledger`]: entries, the tree over them, checkpoints, proofs, verification.
//! - [`store`]: SQLite and PostgreSQL behind one SQL text.
//! - [`people`]: whose lead it is, the keys at hand, the hashes that find somebody again.
//!
//! The way to the vendors:
//!
//! - [`http`]: the one HTTP stack; a connection ([`http::line`]) with its budgets and tokens, and how one is found
//!   ([`http::lines`]); driving a connector's talk.
//! - [`config`]: the configuration file, typed.
//! - [`telemetry`]: log lines.
//! - [`rules`], [`context`]: the rules in force as one snapshot, and what every stage works with.
//! - [`oauth`]: connect links, the authorization-code flow, the check afterwards.
//!
//! The stages, and what they share:
//!
//! - [`standing`], [`change`], [`entries`], [`shares`]: the facts of a decision, a change's outcome, ledger entries, moving a share.
//! - [`firsts`]: writes that decisions made ready a moment ago.
//! - [`queues`]: whose delivery is next where many wait.
//! - [`intake`]: webhooks, polls and waits that ended raise hints; records are read, decided and kept.
//! - [`delivery`]: one share into its recipient's system, and its news into the sharer's.
//! - [`follow`]: what became of a share, from what its record now says.
//! - [`pipeline`]: calls the stages in order, and alone does.
//!
//! Around them:
//!
//! - [`publish`]: files become the rules in force, or say why not.
//! - [`retention`]: forgets people of whom nothing was ever shared, and history that is long over.
//! - [`sealer`]: seals the ledger a moment behind the work.
//! - [`replicas`]: whose a connection is among several daemons.
//! - [`daemon`], [`service`]: building, working, draining; telling the service manager.
//! - [`web`], [`summary`]: webhooks, connect pages, the operator's pages; what connecting means in words.
//! - [`sandbox`], [`demo`]: vendors' simulators over HTTP, and five partners acted out on them.
//! - [`simulate`]: random programs, people and faults from a seed, and what must hold at the end.
//! - [`cli`]: the commands.
//!
//! # The way of one lead
//!
//! 1. **Hint.** A webhook (verified on its raw bytes) or a poll marks a record as worth reading: one row per record,
//!    however often it is hinted at. A poll's cursor is saved with the hints it raised.
//! 2. **Read.** The record is read from the vendor. Ours (delivered by us) goes to *follow*, a source's goes on.
//! 3. **Map and decide.** The record becomes a lead, or ends as invalid or quarantined. Gates and ranking answer for every
//!    possible recipient; decision, shares and outcomes are kept in the transaction that ends the hint. Where only what passes
//!    stood against it (a full cap, an agreement not in force yet), a hint of our own is raised when it has passed.
//! 4. **Deliver.** A share's row says which version is wanted. A worker claims it, checks the gates again and commits
//!    the intent under the person's lock, and only then writes. What was decided within the last seconds about somebody who was new
//!    is not judged twice: the transaction that claims it commits its intent, and sees that nothing has changed since. After an
//!    unknown outcome it looks before it writes again, or writes by the vendor's unique key.
//! 5. **Follow and tell.** What the recipient does with its record moves the share; the news goes back as a delivery too.
//!
//! # What always holds
//!
//! Each line says where it is kept, and which tests fail when it is broken.
//!
//! 1. Every change ends in exactly one outcome with its reason. Kept: `src/pipeline.rs`, `src/intake/keep.rs`,
//!    `src/change.rs`. Tested: `tests/it/outcomes.rs`.
//! 2. Nothing leaves without an agreement in force, a legal basis for recipient, purpose and channel, and freedom from
//!    suppression, judged when deciding and again with the committed intent, under the person's lock, five seconds at most
//!    before writing begins; what was decided within these five seconds about somebody new is seen to stand unchanged instead,
//!    under its delivery's lock. Kept: `src/decide`, `src/delivery/out.rs`, `src/delivery/first.rs`, `src/http/talk.rs`.
//!    Tested: `src/decide/tests`, `tests/it/consent.rs`.
//! 3. One person at one recipient is one record, through crashes, timeouts and repeats; exactly so where the vendor has a
//!    unique key, otherwise as its README promises. Kept: markers (`src/vault/marker.rs`), claims and intents
//!    (`src/store/shares.rs`, `src/store/deliveries.rs`), settling (`src/delivery/mod.rs`). Tested: `tests/it/exactly_once.rs`,
//!    the conformance suite (`tests/it/conformance.rs`).
//! 4. Only the agreement's fields leave. Kept: `decide::payload`. Tested: `src/decide/tests/leaving.rs`. Offers, whose
//!    contact fields stay masked until acceptance, are masked there too, and are held: there is no offer page yet.
//! 5. A decision can be replayed to the same answer: its inputs are kept sealed beside it, with the versions used.
//!    Kept: `src/intake/judge.rs`. Tested: `src/decide/tests/leaving.rs`.
//! 6. A connection's budgets are not exceeded, over all replicas and over restarts; waiting for a quota loses nothing and
//!    counts as no try; new leads go before news; over a budget too small for both, deliveries and reads take turns.
//!    Kept: `src/http/window.rs`, `src/http/limit.rs`, `src/replicas.rs`,
//!    `src/store/deliveries.rs`. Tested: `src/http/window/tests.rs`, `tests/it/rates.rs`, `tests/it/replicas.rs`,
//!    `tests/it/claims.rs`, `tests/it/exactly_once.rs`.
//! 7. One token refresh at a time per connection, over all replicas; a new refresh token is on disk and in the database before it
//!    is used; passing trouble never looks like a withdrawn grant. Kept: `src/http/tokens.rs`, `src/http/spool.rs`,
//!    `src/store/tokens.rs`. Tested: `tests/it/tokens.rs`, `tests/it/token_trouble.rs`, `tests/it/exactly_once.rs`.
//! 8. Our own writes coming back are recognised and end as `echo`. Kept: `src/intake/keep.rs`, `src/follow/keep.rs`.
//!    Tested: `tests/it/echo.rs`.
//! 9. Entries of the ledger are only ever added, and `leadshare ledger verify` finds any edit, removal, reordering or cut
//!    against a checkpoint kept elsewhere. Kept: `src/ledger`, `src/store/ledger.rs`, `src/sealer.rs`. Tested: `src/ledger/tampering.rs`,
//!    `tests/it/ledger.rs`.
//! 10. A partner sees its own side only: its connect page behind a link that works once, and its own records. Kept:
//!     `src/web/connect.rs`, `src/oauth/authorize.rs`. Tested: `src/web/tests/connecting.rs`.
//! 11. No transaction is open while a vendor is called. Kept: by the order of steps in `src/intake`, `src/delivery`. Tested:
//!     `tests/it/architecture.rs`, which reads the code for it.
//! 12. A file with an error never replaces the last good version; the error names file, line, column and what to do.
//!     Kept: `src/publish.rs`, `src/errors.rs`. Tested: `tests/it/files.rs`, and the pairs of files in `tests/broken`.
//! 13. No secret and nothing of a person in logs, metrics, error messages or the ledger. Kept: `src/ledger/entry.rs`
//!     (refuses addresses and numbers), `src/telemetry.rs`, typed secrets in `src/config/values.rs`. Tested: there,
//!     `src/config/tests.rs`, `tests/it/ledger.rs`.
//! 14. A received lead goes on only where the agreement allows it, and never back to its origin; records of a recipient
//!     that are not ours are neither read nor kept. Kept: `src/decide/gates.rs`, `src/intake/poll.rs`, `src/intake/read.rs`.
//!     Tested: `src/decide/tests/gates.rs`, `tests/it/echo.rs`.
#![forbid(unsafe_code)]

mod alike;
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
pub mod firsts;
pub mod follow;
pub mod http;
pub mod intake;
pub mod kept;
pub mod ledger;
pub mod mapping;
pub mod metrics;
pub mod model;
pub mod oauth;
pub mod people;
pub mod pipeline;
pub mod points;
pub mod program;
pub mod publish;
pub mod queues;
pub mod replicas;
pub mod retention;
pub mod rules;
pub mod sandbox;
pub mod sealer;
pub mod service;
pub mod shares;
pub mod simulate;
pub mod standing;
pub mod store;
pub mod summary;
pub mod telemetry;
pub mod turns;
pub mod vault;
pub mod web;
