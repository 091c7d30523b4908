//! SQL for sealing, reading and checking the ledger.

use serde_json::{Value, json};

use super::{Arg, Db, Tx};
use crate::args;
use crate::clock::Millis;
use crate::errors::{Error, Result};
use crate::ledger::{Batch, Hash, Head, Place, Row, State, Tree, Unsealed};

const ADD: &str = "INSERT INTO ledger_waiting (id, stream, at, kind, body)
  SELECT value ->> 0, value ->> 1, $2, value ->> 2, value ->> 3 FROM json_each(CAST($1 AS TEXT))";

/// Adds entries with the work that they record (`[[id, stream, kind, canonical body], …]`).
///
/// # Errors
/// The store's.
pub async fn add(tx: &mut Tx, rows: impl Into<Arg>, now: Millis) -> Result<()> {
    tx.put(ADD, args![rows.into(), now]).await
}

const UNSEALED: &str = "SELECT id, stream, body FROM ledger_waiting ORDER BY id LIMIT $1";
const WAITING: &str = "SELECT COUNT(*) FROM ledger_waiting";

/// How many entries wait to be sealed.
pub async fn waiting(db: &Db) -> Result<i64> {
    Ok(db.row::<(i64,)>(WAITING, args![]).await?.map_or(0, |r| r.0))
}

const HEADS: &str = "SELECT stream, seq, hash FROM ledger_heads WHERE stream IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";
const TREE: &str = "SELECT value FROM settings WHERE name = 'ledger_tree'";
const LOCK_TREE: &str = "SELECT value FROM settings WHERE name = 'ledger_tree' {for_update}";

/// Entries that wait to be sealed, oldest first, and where sealing stands.
pub async fn unsealed(tx: &mut Tx, limit: usize) -> Result<(Vec<Unsealed>, State)> {
    let rows = tx.rows::<(String, String, String)>(UNSEALED, args![limit as i64]).await?;
    let entries: Vec<Unsealed> = rows.into_iter().map(|(id, stream, text)| Unsealed { id, stream, text }).collect();
    let unreadable = || Error::Unreadable { what: "the ledger's state".into() };
    let tree: Tree = match tx.rows::<(String,)>(TREE, args![]).await?.first() {
        Some((text,)) => serde_json::from_str(text).map_err(|_| unreadable())?,
        None => Tree::default(),
    };
    let streams = Value::from(entries.iter().map(|e| json!([e.stream])).collect::<Vec<_>>());
    let mut state = State { tree, ..State::default() };
    for (stream, seq, hash) in tx.rows::<(String, i64, String)>(HEADS, args![streams]).await? {
        let hash: Hash = serde_json::from_value(hash.into()).map_err(|_| unreadable())?;
        state.heads.insert(stream, Head { seq: seq as u64, hash });
    }
    Ok((entries, state))
}

const SEAL: &str = "WITH item AS MATERIALIZED (SELECT value ->> 0 AS id, CAST(value ->> 1 AS BIGINT) AS seq, value ->> 2 AS prev,
      value ->> 3 AS hash, CAST(value ->> 4 AS BIGINT) AS leaf FROM json_each(CAST($1 AS TEXT)))
  INSERT INTO ledger (leaf, id, stream, seq, at, kind, body, prev, hash)
  SELECT item.leaf, item.id, waiting.stream, item.seq, waiting.at, waiting.kind, waiting.body, item.prev, item.hash
  FROM item JOIN ledger_waiting AS waiting ON waiting.id = item.id ORDER BY item.leaf";
const SEALED: &str = "DELETE FROM ledger_waiting WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";
const SAVE_HEADS: &str = "INSERT INTO ledger_heads (stream, seq, hash) SELECT value ->> 0, CAST(value ->> 1 AS BIGINT), value ->> 2
  FROM json_each(CAST($1 AS TEXT)) WHERE true ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq, hash = excluded.hash";
const SAVE_NODES: &str =
    "INSERT INTO ledger_nodes (level, idx, hash) SELECT CAST(value ->> 0 AS BIGINT), CAST(value ->> 1 AS BIGINT), value ->> 2
  FROM json_each(CAST($1 AS TEXT)) WHERE true ON CONFLICT (level, idx) DO NOTHING";
const SAVE_TREE: &str =
    "INSERT INTO settings (name, value) VALUES ('ledger_tree', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const ADD_CHECKPOINT: &str = "INSERT INTO checkpoints (size, at, body) VALUES ($1, $2, $3) ON CONFLICT (size) DO NOTHING";

/// Stores what sealing made of the entries that waited after `before`, and the checkpoint over it.
///
/// # Errors
/// The store's; [`Error::Passing`] with `sealed_elsewhere` when something else was sealed meanwhile.
pub async fn save_batch(tx: &mut Tx, before: &Tree, batch: &Batch, checkpoint: &str, now: Millis) -> Result<()> {
    let stands = tx.rows::<(String,)>(LOCK_TREE, args![]).await?.into_iter().next();
    let same = match &stands {
        Some((text,)) => serde_json::from_str(text).is_ok_and(|tree: Tree| tree == *before),
        None => before.size() == 0,
    };
    if !same {
        return Err(Error::Passing { code: "sealed_elsewhere".into(), message: "another sealer was faster".into() });
    }
    let seals: Vec<Value> = batch.seals.iter().map(|s| json!([s.id, s.place.seq, s.place.prev, s.hash, s.place.index])).collect();
    let count = seals.len() as u64;
    let seals = Value::from(seals);
    if tx.exec(SEAL, args![&seals]).await? != count || tx.exec(SEALED, args![&seals]).await? != count {
        return Err(Error::Passing { code: "sealed_elsewhere".into(), message: "another sealer was faster".into() });
    }
    let heads: Vec<Value> = batch.state.heads.iter().map(|(stream, head)| json!([stream, head.seq, head.hash])).collect();
    tx.put(SAVE_HEADS, args![Value::from(heads)]).await?;
    let nodes: Vec<Value> = batch.nodes.iter().map(|n| json!([n.level, n.index, n.hash])).collect();
    tx.put(SAVE_NODES, args![Value::from(nodes)]).await?;
    tx.put(SAVE_TREE, args![json!(batch.state.tree)]).await?;
    tx.put(ADD_CHECKPOINT, args![batch.state.tree.size() as i64, now, checkpoint]).await
}

type StoredRow = (String, String, i64, String, String, i64, String, String, i64);
const PAGE: &str = "SELECT id, stream, at, kind, body, seq, prev, hash, leaf FROM ledger WHERE leaf > $1 ORDER BY leaf LIMIT $2";
const TAIL: &str = "SELECT id, stream, at, kind, body FROM ledger_waiting WHERE id > $1 ORDER BY id LIMIT $2";

/// A page of sealed entries after a leaf (-1 for the first), in the tree's order.
pub async fn page(db: &Db, after: i64, limit: usize) -> Result<Vec<Row>> {
    Ok(db.rows::<StoredRow>(PAGE, args![after, limit as i64]).await?.into_iter().map(row).collect())
}

/// A page of entries that wait to be sealed, after an id.
pub async fn tail(db: &Db, after: &str, limit: usize) -> Result<Vec<Row>> {
    let rows = db.rows::<(String, String, i64, String, String)>(TAIL, args![after, limit as i64]).await?;
    Ok(rows.into_iter().map(|(id, stream, at, kind, text)| Row { id, stream, at, kind, text, seal: None }).collect())
}

fn row((id, stream, at, kind, text, seq, prev, hash, leaf): StoredRow) -> Row {
    // A hash that cannot be read cannot be told from a wrong one: zeros never fit.
    let hash_of = |text: String| serde_json::from_value::<Hash>(text.into()).unwrap_or(Hash::ZERO);
    let place = Place { index: leaf as u64, seq: seq as u64, prev: hash_of(prev) };
    Row { id, stream, at, kind, text, seal: Some((place, hash_of(hash))) }
}

const CHECKPOINTS: &str = "SELECT body FROM checkpoints ORDER BY size";

/// All checkpoints, oldest first.
pub async fn checkpoints(db: &Db) -> Result<Vec<String>> {
    Ok(db.rows::<(String,)>(CHECKPOINTS, args![]).await?.into_iter().map(|(body,)| body).collect())
}
