//! SQL for sealing, reading and checking the ledger.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Db, Rows, Tx};
use crate::args;
use crate::clock::Millis;
use crate::errors::{Error, Result};
use crate::ledger::{Batch, Entry, Hash, Head, Place, Row, State, Tree, Unsealed};

const ADD: &str = "INSERT INTO ledger_waiting (id, count, entries) VALUES ($1, $2, $3)";

/// Adds a transaction's entries with the work that they record.
///
/// # Errors
/// The store's.
pub async fn add(tx: &mut Tx, entries: &[Entry]) -> Result<()> {
    let Some(first) = entries.iter().map(|entry| entry.id.as_str()).min() else { return Ok(()) };
    let texts: Vec<&str> = entries.iter().map(|entry| entry.text.as_str()).collect();
    tx.put(ADD, args![first, entries.len() as i64, format!("[{}]", texts.join(","))]).await
}

const WAITING: &str = "SELECT CAST(COALESCE(SUM(count), 0) AS BIGINT) FROM ledger_waiting";

/// How many entries wait to be sealed.
pub async fn waiting(db: &Db) -> Result<i64> {
    Ok(db.row::<(i64,)>(WAITING, args![]).await?.map_or(0, |r| r.0))
}

const ANY: &str = "SELECT id FROM ledger_waiting ORDER BY id LIMIT 1";

/// Whether anything waits to be sealed.
pub async fn any_waiting(db: &Db) -> Result<bool> {
    Ok(db.row::<(String,)>(ANY, args![]).await?.is_some())
}

/// Most transactions whose entries are sealed together.
const TOGETHER: i64 = 500;
const COUNTS: &str = "SELECT id, count FROM ledger_waiting ORDER BY id LIMIT $1";
const UNSEALED: &str = "SELECT id, entries FROM ledger_waiting WHERE id <= $1 ORDER BY id {few}";
const HEADS: &str = "SELECT stream, seq, hash FROM ledger_heads WHERE stream IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";
const TREE: &str = "SELECT value FROM settings WHERE name = 'ledger_tree'";
const LOCK_TREE: &str = "SELECT value FROM settings WHERE name = 'ledger_tree' {for_update}";

/// What waits to be sealed, and where sealing stands.
pub struct Waiting {
    /// The transactions that it comes from.
    transactions: Vec<String>,
    /// The entries, oldest transaction first.
    pub entries: Vec<Unsealed>,
    /// Whether there are more.
    pub more: bool,
    /// The tree and the heads of their streams.
    pub state: State,
}

/// What waits to be sealed: the oldest transactions with about `enough` entries.
pub async fn unsealed(tx: &mut Tx, enough: i64) -> Result<Waiting> {
    let unreadable = || Error::Unreadable { what: "the ledger".into() };
    let (mut last, mut found, mut taken) = (String::new(), 0, 0);
    let counts = tx.rows::<(String, i64)>(COUNTS, args![TOGETHER]).await?;
    for (id, count) in &counts {
        if found > 0 && found + count > enough {
            break;
        }
        (last, found, taken) = (id.clone(), found + count, taken + 1);
    }
    let more = taken < counts.len() || taken as i64 == TOGETHER;
    let (mut transactions, mut entries) = (Vec::new(), Vec::new());
    for (id, texts) in tx.rows::<(String, String)>(UNSEALED, args![last]).await? {
        if let Some(read) = read_texts(&texts) {
            entries.extend(read);
            transactions.push(id);
        } else {
            // What follows is sealed all the same; `ledger verify` tells of it, too.
            tracing::error!(transaction = id, "ledger entries cannot be read, and are not sealed: see `leadshare ledger verify`");
        }
    }
    let tree: Tree = match tx.rows::<(String,)>(TREE, args![]).await?.first() {
        Some((text,)) => serde_json::from_str(text).map_err(|_| unreadable())?,
        None => Tree::default(),
    };
    let streams: BTreeSet<&str> = entries.iter().map(|e| e.stream.as_str()).collect();
    let streams = Value::from(streams.iter().map(|stream| json!([stream])).collect::<Vec<_>>());
    let mut state = State { tree, ..State::default() };
    for (stream, seq, hash) in tx.rows::<(String, i64, String)>(HEADS, args![streams]).await? {
        let hash: Hash = serde_json::from_value(hash.into()).map_err(|_| unreadable())?;
        state.heads.insert(stream, Head { seq: seq as u64, hash });
    }
    Ok(Waiting { transactions, entries, more, state })
}

/// The entries of a transaction; `None` when one of them is none.
fn read_texts(texts: &str) -> Option<Vec<Unsealed>> {
    serde_json::from_str::<Vec<&RawValue>>(texts).ok()?.into_iter().map(|text| Unsealed::read(text.get())).collect()
}

const SEAL: &str = "INSERT INTO ledger (leaf, count, first_id, last_id, entries) VALUES ($1, $2, $3, $4, $5)";
const SEALED: &str = "DELETE FROM ledger_waiting WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";
const SAVE_HEADS: &str = "INSERT INTO ledger_heads (stream, seq, hash) SELECT value ->> 0, CAST(value ->> 1 AS BIGINT), value ->> 2
  FROM json_each(CAST($1 AS TEXT)) WHERE true ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq, hash = excluded.hash";
const SAVE_NODES: &str =
    "INSERT INTO ledger_nodes (level, idx, hash) SELECT CAST(value ->> 0 AS BIGINT), CAST(value ->> 1 AS BIGINT), value ->> 2
  FROM json_each(CAST($1 AS TEXT)) WHERE true ON CONFLICT (level, idx) DO NOTHING";
const SAVE_TREE: &str =
    "INSERT INTO settings (name, value) VALUES ('ledger_tree', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const ADD_CHECKPOINT: &str = "INSERT INTO checkpoints (size, at, body) VALUES ($1, $2, $3) ON CONFLICT (size) DO NOTHING";

/// Stores what sealing made of what waited, and the checkpoint over it.
///
/// # Errors
/// The store's; [`Error::Passing`] with `sealed_elsewhere` when something else was sealed meanwhile.
pub async fn save_batch(tx: &mut Tx, waited: &Waiting, batch: &Batch, checkpoint: &str, now: Millis) -> Result<()> {
    let stands = tx.rows::<(String,)>(LOCK_TREE, args![]).await?.into_iter().next();
    let before = &waited.state.tree;
    let same = match &stands {
        Some((text,)) => serde_json::from_str(text).is_ok_and(|tree: Tree| tree == *before),
        None => before.size() == 0,
    };
    let transactions = Value::from(waited.transactions.iter().map(|id| json!([id])).collect::<Vec<_>>());
    let count = waited.transactions.len() as u64;
    if !same || tx.touch(SEALED, args![transactions], count).await? != count {
        return Err(Error::Passing { code: "sealed_elsewhere".into(), message: "another sealer was faster".into() });
    }
    let ids = || waited.entries.iter().map(|entry| entry.id.as_str());
    let (Some(first), Some(last)) = (ids().min(), ids().max()) else { return Ok(()) };
    let mut rows = Rows::default();
    for (entry, seal) in waited.entries.iter().zip(&batch.seals) {
        let text: &RawValue = serde_json::from_str(&entry.text).map_err(|_| Error::Unreadable { what: "the ledger".into() })?;
        rows.push((seal.place.seq, seal.place.prev, seal.hash, text))?;
    }
    tx.put(SEAL, args![before.size() as i64, batch.seals.len() as i64, first, last, rows]).await?;
    let heads: Vec<Value> = batch.state.heads.iter().map(|(stream, head)| json!([stream, head.seq, head.hash])).collect();
    tx.put(SAVE_HEADS, args![Value::from(heads)]).await?;
    let nodes: Vec<Value> = batch.nodes.iter().map(|n| json!([n.level, n.index, n.hash])).collect();
    tx.put(SAVE_NODES, args![Value::from(nodes)]).await?;
    tx.put(SAVE_TREE, args![json!(batch.state.tree)]).await?;
    tx.put(ADD_CHECKPOINT, args![batch.state.tree.size() as i64, now, checkpoint]).await
}

const PAGE: &str = "SELECT leaf, count, first_id, last_id, entries FROM ledger WHERE leaf > $1 ORDER BY leaf LIMIT $2 {few}";
const TAIL: &str = "SELECT id, entries FROM ledger_waiting WHERE id > $1 ORDER BY id LIMIT $2 {few}";

/// Entries that were sealed together, as they are stored.
pub struct Stored {
    /// The place of the first.
    pub leaf: i64,
    /// The entries.
    pub rows: Vec<Row>,
    /// Whether what stands beside them (how many there are, the first and the last of their ids) is so.
    pub agrees: bool,
}

/// Sealed entries, in the tree's order: those of so many batches after the one at a leaf (-1 for the first).
pub async fn page(db: &Db, after: i64, batches: i64) -> Result<Vec<Stored>> {
    let stored = |(leaf, count, first, last, entries): (i64, i64, String, String, String)| {
        let rows = sealed_rows(leaf, &entries, |_| true);
        let ids = || rows.iter().map(|row| row.id.as_str());
        let agrees = rows.len() as i64 == count && ids().min() == Some(&first) && ids().max() == Some(&last);
        Stored { leaf, rows, agrees }
    };
    Ok(db.rows(PAGE, args![after, batches]).await?.into_iter().map(stored).collect())
}

/// Entries that wait to be sealed, those of so many transactions after one; and the last of these.
pub async fn tail(db: &Db, after: &str, transactions: i64) -> Result<(Vec<Row>, Option<String>)> {
    let found = db.rows::<(String, String)>(TAIL, args![after, transactions]).await?;
    let rows = found.iter().flat_map(|(_, entries)| waiting_rows(entries, |_| true)).collect();
    Ok((rows, found.into_iter().next_back().map(|(id, _)| id)))
}

/// Those whose text is wanted. What cannot be read comes as one entry that says nothing: whoever verifies tells of it.
fn waiting_rows(entries: &str, wanted: impl Fn(&str) -> bool) -> Vec<Row> {
    match serde_json::from_str::<Vec<&RawValue>>(entries) {
        Ok(texts) => texts.into_iter().filter(|text| wanted(text.get())).map(|text| Row::read(text.get(), None)).collect(),
        Err(_) => wanted(entries).then(|| Row::read(entries, None)).into_iter().collect(),
    }
}

fn sealed_rows(leaf: i64, entries: &str, wanted: impl Fn(&str) -> bool) -> Vec<Row> {
    // Raw parts, for one that cannot be read must not hide the others. A hash that cannot be read cannot be told from a wrong
    // one: zeros never fit.
    let row = |(nth, entry): (usize, &&RawValue)| {
        let index = leaf as u64 + nth as u64;
        match serde_json::from_str::<(u64, Hash, Hash, &RawValue)>(entry.get()) {
            Ok((seq, prev, hash, text)) => Row::read(text.get(), Some((Place { index, seq, prev }, hash))),
            Err(_) => Row::read(entry.get(), Some((Place { index, seq: 0, prev: Hash::ZERO }, Hash::ZERO))),
        }
    };
    if let Ok(entries) = serde_json::from_str::<Vec<&RawValue>>(entries) {
        return entries.iter().enumerate().filter(|(_, entry)| wanted(entry.get())).map(row).collect();
    }
    let nowhere = Place { index: leaf as u64, seq: 0, prev: Hash::ZERO };
    wanted(entries).then(|| Row::read(entries, Some((nowhere, Hash::ZERO)))).into_iter().collect()
}

// A batch begins a little before its entries are looked for; which one is not known by its first id alone.
const NEAR: &str =
    "WITH near AS MATERIALIZED (SELECT value ->> 0 AS since, value ->> 1 AS first, value ->> 2 AS last FROM json_each(CAST($1 AS TEXT)))
  SELECT ledger.leaf, ledger.entries FROM ledger WHERE ledger.leaf IN (SELECT ledger_ids.leaf FROM near JOIN ledger AS ledger_ids
      ON ledger_ids.first_id BETWEEN near.since AND near.last AND ledger_ids.last_id >= near.first)
    AND EXISTS (SELECT 1 FROM json_each(CAST($2 AS TEXT)) AS wanted WHERE ledger.entries LIKE wanted.value ->> 0)
  ORDER BY ledger.leaf {few}";
const NEAR_WAITING: &str = "WITH near AS MATERIALIZED (SELECT value ->> 0 AS since, value ->> 2 AS last FROM json_each(CAST($1 AS TEXT)))
  SELECT DISTINCT waiting.id, waiting.entries FROM near JOIN ledger_waiting AS waiting ON waiting.id BETWEEN near.since AND near.last ORDER BY waiting.id {few}";

/// Entries between these ids (`[[since, first, last], …]`; `since` is when batches may have begun that hold them) whose text has one of
/// these ids in it, oldest first. The ledger has no index by what entries are about.
pub async fn near(db: &Db, between: &Value, naming: &[&str]) -> Result<Vec<Row>> {
    let names = Value::from(naming.iter().map(|id| json!([format!("%{id}%")])).collect::<Vec<_>>());
    let wanted = |text: &str| naming.iter().any(|id| text.contains(id));
    // First what waits: what is sealed in between comes twice then, and not never.
    let waiting = db.rows::<(String, String)>(NEAR_WAITING, args![between]).await?;
    let mut found = BTreeMap::new();
    for row in waiting.iter().flat_map(|(_, entries)| waiting_rows(entries, wanted)) {
        found.insert((row.at, row.id.clone()), row);
    }
    for (leaf, entries) in db.rows::<(i64, String)>(NEAR, args![between, names]).await? {
        for row in sealed_rows(leaf, &entries, wanted) {
            found.insert((row.at, row.id.clone()), row);
        }
    }
    Ok(found.into_values().collect())
}

const CHECKPOINTS: &str = "SELECT body FROM checkpoints ORDER BY size";

/// All checkpoints, oldest first.
pub async fn checkpoints(db: &Db) -> Result<Vec<String>> {
    Ok(db.rows::<(String,)>(CHECKPOINTS, args![]).await?.into_iter().map(|(body,)| body).collect())
}
