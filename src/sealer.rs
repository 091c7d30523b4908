//! Seals the ledger a moment behind the work, and checks it.

use crate::context::Context;
use crate::errors::{Error, Result};
use crate::ledger::{Checkpoint, PublicKey, Report, Signer, Verifier, seal};
use crate::points;
use crate::store::{Db, ledger};

/// Entries sealed in one transaction, as far as whole transactions of others allow.
const BATCH: i64 = 2_000;
/// Batches read at a time while checking.
const PAGE: i64 = 8;

/// Seals what waits. Answers how many entries were sealed.
///
/// # Errors
/// The store's; another sealer's work is no error.
pub async fn run_once(ctx: &Context, signer: &Signer) -> Result<usize> {
    // Mostly nothing waits, and that is one question.
    if !ledger::any_waiting(&ctx.db).await? {
        return Ok(0);
    }
    let now = ctx.clock.now();
    let mut look = ctx.db.reading().await?;
    let waited = ledger::unsealed(&mut look, BATCH).await?;
    look.commit().await?;
    let count = waited.entries.len();
    if count == 0 {
        return Ok(0);
    }
    let batch = seal(&waited.entries, waited.state.clone());
    let checkpoint = Checkpoint {
        origin: signer.origin().to_owned(),
        size: batch.state.tree.size(),
        root: batch.state.tree.root(),
        at: now,
        heads: Vec::new(),
    }
    .sign(signer)?;
    let mut tries = ctx.db.tries();
    loop {
        let mut tx = tries.begin().await?;
        let saved = ledger::save_batch(&mut tx, &waited, &batch, &checkpoint, now).await;
        points::at("ledger.sealed").await;
        match tries.end(tx, saved).await {
            Ok(None) => {}
            Ok(Some(())) => break,
            Err(Error::Passing { .. }) => return Ok(0),
            Err(error) => return Err(error),
        }
    }
    points::at("ledger.kept").await;
    // When there is more it is at least another batch, as far as anybody has looked.
    crate::metrics::ledger(count as u64, if waited.more { BATCH as u64 } else { 0 });
    Ok(count)
}

/// Reads the whole ledger again against checkpoints: those of the store and those kept outside.
/// `progress` hears how many entries were read.
///
/// # Errors
/// The store's.
pub async fn verify(db: &Db, outside: &[String], keys: &[PublicKey], mut progress: impl FnMut(u64)) -> Result<Report> {
    let mut notes = ledger::checkpoints(db).await?;
    notes.extend_from_slice(outside);
    let mut verifier = Verifier::new(notes.iter().map(String::as_str), keys);
    let (mut after, mut read) = (-1, 0);
    loop {
        let page = ledger::page(db, after, PAGE).await?;
        // Not where the last entry stands: a batch with more entries than it had would hide the one after it.
        let Some(last) = page.last() else { break };
        after = last.leaf;
        for batch in &page {
            read += batch.rows.len() as u64;
            for row in &batch.rows {
                verifier.push(row);
            }
            if !batch.agrees {
                verifier.batch(batch.leaf as u64);
            }
        }
        progress(read);
    }
    let mut after = String::new();
    loop {
        let (rows, last) = ledger::tail(db, &after, PAGE).await?;
        let Some(last) = last else { break };
        after = last;
        for row in &rows {
            verifier.push(row);
        }
    }
    Ok(verifier.finish())
}
