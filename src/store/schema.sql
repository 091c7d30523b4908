-- Version 1. One text for both engines: {int}, {strict} and {keyed} are filled in per engine.
-- Keys begin with what tells rows apart: a batch then finds each of its rows, and never walks a connection's.
-- Times are milliseconds since 1970 in UTC. Sealed columns hold vault texts. Hash columns hold keyed hashes.

CREATE TABLE settings (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) {strict};

-- Daemons at work on this database; one that was found dead has no row any more.
CREATE TABLE replicas (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL,
  started_at {int} NOT NULL,
  beat_at    {int} NOT NULL,
  leaving    {int} NOT NULL
) {strict};

-- Program files and mappings: the active versions live here, by hash of their values.
CREATE TABLE files (
  kind         TEXT NOT NULL,
  name         TEXT NOT NULL,
  hash         TEXT NOT NULL,
  body         TEXT NOT NULL,
  state        TEXT NOT NULL CHECK (state IN ('active', 'pending', 'replaced')),
  reason       TEXT,
  published_at {int} NOT NULL,
  PRIMARY KEY (kind, name, hash)
) {strict};
CREATE UNIQUE INDEX files_active ON files (kind, name) WHERE state = 'active';

CREATE TABLE connections (
  name         TEXT PRIMARY KEY,
  partner      TEXT NOT NULL,
  connector    TEXT NOT NULL,
  state        TEXT NOT NULL CHECK (state IN ('new', 'connected', 'reconnect_needed', 'paused')),
  state_reason TEXT,
  base_url     TEXT,
  external_id  TEXT,
  scopes       TEXT NOT NULL,
  share_from   {int},
  clock_offset {int} NOT NULL,
  owner        TEXT,
  epoch        TEXT,
  updated_at   {int} NOT NULL
) {strict};
CREATE INDEX connections_account ON connections (external_id);
CREATE INDEX connections_paused ON connections (partner) WHERE state = 'paused';

CREATE TABLE tokens (
  connection        TEXT PRIMARY KEY,
  access            TEXT NOT NULL,
  refresh           TEXT,
  expires_at        {int},
  refresh_at        {int},
  version           {int} NOT NULL,
  refresh_intent_at {int},
  refresh_owner     TEXT,
  refresh_until     {int},
  cooldown_until    {int},
  failures          {int} NOT NULL
) {strict};

CREATE TABLE connect_links (
  token_hash TEXT PRIMARY KEY,
  connection TEXT NOT NULL,
  expires_at {int} NOT NULL
) {strict};

CREATE TABLE oauth_states (
  state_hash TEXT PRIMARY KEY,
  connection TEXT NOT NULL,
  link_hash  TEXT NOT NULL,
  verifier   TEXT NOT NULL,
  expires_at {int} NOT NULL
) {strict};

-- What a connection spent and reserved at its vendor, by budget, and pauses ('*' pauses all): over replicas and restarts.
CREATE TABLE budgets (
  connection    TEXT NOT NULL,
  budget        TEXT NOT NULL,
  spent         TEXT NOT NULL,
  version       {int} NOT NULL,
  blocked_until {int} NOT NULL,
  PRIMARY KEY (connection, budget)
) {keyed};

CREATE TABLE cursors (
  connection    TEXT NOT NULL,
  object        TEXT NOT NULL,
  cursor        TEXT,
  next_poll_at  {int} NOT NULL,
  polled_at     {int},
  quiet_since   {int} NOT NULL,
  lease_until   {int} NOT NULL,
  PRIMARY KEY (connection, object)
) {strict};
CREATE INDEX cursors_due ON cursors (next_poll_at);

-- Work is level-triggered: a hint raises seq, and a row is done only at the seq that was read.
CREATE TABLE dirty (
  connection  TEXT NOT NULL,
  object      TEXT NOT NULL,
  remote_id   TEXT NOT NULL,
  seq         {int} NOT NULL,
  done_seq    {int} NOT NULL,
  kind        TEXT NOT NULL,
  detail      TEXT,
  raised_at   {int} NOT NULL,
  due         {int} NOT NULL,
  lease_until {int} NOT NULL,
  lease       TEXT,
  claims      {int} NOT NULL,
  PRIMARY KEY (remote_id, connection, object)
) {keyed};
CREATE INDEX dirty_due ON dirty (connection, due);

CREATE TABLE changes (
  id         TEXT PRIMARY KEY,
  connection TEXT NOT NULL,
  object     TEXT NOT NULL,
  remote_id  TEXT NOT NULL,
  hints      {int} NOT NULL CHECK (hints > 0),
  taken_at   {int} NOT NULL,
  ended_at   {int} NOT NULL,
  outcome    TEXT NOT NULL,
  reason     TEXT NOT NULL,
  lead       TEXT,
  decision   TEXT
) {keyed};
CREATE INDEX changes_ended ON changes (ended_at);
CREATE INDEX changes_record ON changes (remote_id, connection);

-- One data key per person: destroying it erases the person everywhere.
CREATE TABLE people (
  id         TEXT PRIMARY KEY,
  data_key   TEXT,
  erased_at  {int},
  created_at {int} NOT NULL
) {keyed};

CREATE TABLE identities (
  hash   TEXT PRIMARY KEY,
  person TEXT NOT NULL
) {keyed};
CREATE INDEX identities_person ON identities (person);

-- What we know of a source's records.
CREATE TABLE records (
  connection TEXT NOT NULL,
  object     TEXT NOT NULL,
  remote_id  TEXT NOT NULL,
  version    TEXT NOT NULL,
  content    TEXT NOT NULL,
  lead       TEXT,
  state      TEXT NOT NULL CHECK (state IN ('live', 'gone')),
  written    TEXT,
  seen_at    {int} NOT NULL,
  PRIMARY KEY (remote_id, connection, object)
) {keyed};

-- What records of a source wait for, that can pass while they stay as they are. look_at is empty while that is looked at.
CREATE TABLE waiting (
  connection TEXT NOT NULL,
  object     TEXT NOT NULL,
  remote_id  TEXT NOT NULL,
  what       TEXT NOT NULL,
  since      {int} NOT NULL,
  look_at    {int},
  PRIMARY KEY (remote_id, connection, object, what)
) {keyed};
CREATE INDEX waiting_for ON waiting (connection, object, what, since) WHERE look_at IS NOT NULL;

CREATE TABLE leads (
  id         TEXT PRIMARY KEY,
  person     TEXT NOT NULL,
  partner    TEXT NOT NULL,
  connection TEXT NOT NULL,
  object     TEXT NOT NULL,
  remote_id  TEXT NOT NULL,
  mapping    TEXT NOT NULL,
  data       TEXT,
  version    {int} NOT NULL,
  taken_at   {int} NOT NULL,
  updated_at {int} NOT NULL,
  UNIQUE (remote_id, connection, object)
) {strict};
CREATE INDEX leads_person ON leads (person);
CREATE INDEX leads_updated ON leads (updated_at);

CREATE TABLE suppressions (
  hash     TEXT NOT NULL,
  scope    TEXT NOT NULL CHECK (scope IN ('person', 'domain')),
  reason   TEXT NOT NULL,
  channels TEXT NOT NULL,
  since    {int} NOT NULL,
  PRIMARY KEY (hash, reason)
) {keyed};

-- What a share rests on: its permissions in words (`[[purpose, channel], …]`), and their proof, sealed.
CREATE TABLE consents (
  share       TEXT PRIMARY KEY,
  permits     TEXT NOT NULL,
  proof       TEXT,
  recorded_at {int} NOT NULL
) {strict};

CREATE TABLE decisions (
  id      TEXT NOT NULL,
  lead    TEXT NOT NULL,
  change  TEXT NOT NULL,
  at      {int} NOT NULL,
  outcome TEXT NOT NULL,
  reason  TEXT NOT NULL,
  inputs  TEXT,
  body    TEXT NOT NULL,
  PRIMARY KEY (lead, id)
) {strict};

-- What decisions say about candidates, by the hash of the text: each wording once.
CREATE TABLE verdicts (
  hash TEXT PRIMARY KEY,
  body TEXT NOT NULL
) {strict};

CREATE TABLE shares (
  id                TEXT PRIMARY KEY,
  person            TEXT NOT NULL,
  lead              TEXT NOT NULL,
  source            TEXT NOT NULL,
  recipient         TEXT NOT NULL,
  agreement         TEXT NOT NULL,
  terms             TEXT NOT NULL,
  decision          TEXT NOT NULL,
  connection        TEXT NOT NULL,
  object            TEXT NOT NULL,
  status            TEXT NOT NULL,
  progress          TEXT NOT NULL,
  reason            TEXT,
  amount            TEXT,
  created_at        {int} NOT NULL,
  updated_at        {int} NOT NULL
) {keyed};
CREATE INDEX shares_lead ON shares (lead);
CREATE INDEX shares_person ON shares (person);
CREATE INDEX shares_followed ON shares (connection, id)
  WHERE status IN ('delivered', 'acknowledged', 'accepted') AND progress NOT IN ('won', 'lost');

CREATE TABLE share_events (
  id       TEXT NOT NULL,
  share    TEXT NOT NULL,
  at       {int} NOT NULL,
  status   TEXT NOT NULL,
  progress TEXT NOT NULL,
  reason   TEXT,
  said_by  TEXT NOT NULL,
  PRIMARY KEY (share, id)
) {keyed};

-- How busy recipients are: shares given per day (days since 1970 in UTC), and under day -1 those open now.
CREATE TABLE loads (
  recipient TEXT NOT NULL,
  agreement TEXT NOT NULL,
  day       {int} NOT NULL,
  count     {int} NOT NULL,
  PRIMARY KEY (recipient, agreement, day)
) {keyed};

-- Leads newly shared per minute, two hours back: what the brake looks at.
CREATE TABLE shared_minutes (
  source TEXT NOT NULL,
  minute {int} NOT NULL,
  count  {int} NOT NULL,
  PRIMARY KEY (source, minute)
) {keyed};

-- Unique claims: one person at one recipient, and whatever else only one share may hold.
CREATE TABLE claims (
  kind  TEXT NOT NULL,
  claim TEXT NOT NULL,
  share TEXT NOT NULL,
  at    {int} NOT NULL,
  PRIMARY KEY (kind, claim)
) {keyed};
CREATE INDEX claims_share ON claims (share);

-- One row per share and way: out (to the recipient) and back (status to the sharer). The body is
-- computed at the moment of sending; open means wanted_version > done_version. The intent is committed
-- before a write is sent, and stays (in doubt) until its outcome is known. What may be claimed has a place in its queue;
-- without one it is claimed, waits until it is due, or is not open.
CREATE TABLE deliveries (
  share          TEXT NOT NULL,
  way            TEXT NOT NULL CHECK (way IN ('out', 'back')),
  connection     TEXT NOT NULL,
  object         TEXT NOT NULL,
  lane           {int} NOT NULL CHECK (lane BETWEEN 0 AND 3),
  state          TEXT NOT NULL CHECK (state IN ('open', 'ended', 'failed')),
  wanted_version {int} NOT NULL,
  done_version   {int} NOT NULL CHECK (done_version <= wanted_version),
  wanted_at      {int} NOT NULL,
  due            {int} NOT NULL,
  place          {int} CHECK (place IS NULL OR (state = 'open' AND wanted_version > done_version)),
  attempts       {int} NOT NULL,
  claims         {int} NOT NULL,
  lease_until    {int} NOT NULL,
  lease          TEXT,
  last_error     TEXT,
  intent         TEXT CHECK (intent IN ('sent', 'in_doubt')),
  sent_at        {int} CHECK ((sent_at IS NULL) = (intent IS NULL)),
  creates        {int} NOT NULL DEFAULT 0,
  body           TEXT,
  fields         TEXT,
  PRIMARY KEY (share, way)
) {keyed};
CREATE INDEX deliveries_ready ON deliveries (connection, way, lane, place) WHERE place IS NOT NULL;
CREATE INDEX deliveries_due ON deliveries (connection, way, due, share) WHERE place IS NULL AND state = 'open' AND wanted_version > done_version;
CREATE INDEX deliveries_intents ON deliveries (connection) WHERE intent IS NOT NULL;

-- One person on one connection is one record there, under one marker that is never recomputed.
CREATE TABLE remote_people (
  connection TEXT NOT NULL,
  person     TEXT NOT NULL,
  object     TEXT NOT NULL,
  marker     TEXT NOT NULL,
  remote_id  TEXT,
  made       TEXT NOT NULL CHECK (made IN ('created', 'adopted', 'unknown')),
  state      TEXT NOT NULL CHECK (state IN ('wanted', 'live', 'gone')),
  shadow     TEXT,
  landed_at  {int},
  open_until {int},
  open_body  TEXT,
  PRIMARY KEY (person, connection)
) {keyed};
CREATE UNIQUE INDEX remote_people_id ON remote_people (remote_id, connection, object) WHERE remote_id IS NOT NULL;
-- Markers lie at random places: only of records that are not known yet is anybody looked for by them.
CREATE UNIQUE INDEX remote_people_unseen ON remote_people (marker, connection) WHERE remote_id IS NULL;

CREATE TABLE remote_aliases (
  connection TEXT NOT NULL,
  object     TEXT NOT NULL,
  old_id     TEXT NOT NULL,
  new_id     TEXT NOT NULL,
  PRIMARY KEY (old_id, connection, object)
) {keyed};
CREATE INDEX remote_aliases_new ON remote_aliases (new_id, connection, object);

-- What we lately wrote over values of our own, by keyed hash: a field that goes back and forth shows here.
CREATE TABLE overwrites (
  connection TEXT NOT NULL,
  person     TEXT NOT NULL,
  field      TEXT NOT NULL,
  at         {int} NOT NULL,
  nth        {int} NOT NULL,
  value      TEXT NOT NULL,
  PRIMARY KEY (connection, person, field, at, nth)
) {keyed};

-- Creates that were once in doubt: looked for again, for they may arrive later than anybody expects.
CREATE TABLE sweeps (
  share      TEXT PRIMARY KEY,
  connection TEXT NOT NULL,
  sent_at    {int} NOT NULL,
  due        {int} NOT NULL
) {strict};
CREATE INDEX sweeps_due ON sweeps (due, connection);

CREATE TABLE attempts (
  id       TEXT NOT NULL,
  share    TEXT NOT NULL,
  way      TEXT NOT NULL,
  version  {int} NOT NULL,
  at       {int} NOT NULL,
  took_ms  {int} NOT NULL,
  outcome  TEXT NOT NULL,
  code     TEXT,
  PRIMARY KEY (share, id)
) {keyed};

-- Ledger entries that were committed with the work that they record and wait to be sealed: a row for each transaction, under the
-- first entry's id. Entries are canonical texts, `[text, …]`.
CREATE TABLE ledger_waiting (
  id      TEXT PRIMARY KEY,
  count   {int} NOT NULL CHECK (count > 0),
  entries TEXT NOT NULL
) {strict};

-- Append-only: sealed entries in the tree's order, as many to a row as were sealed together: `[[seq, prev, hash, text], …]`.
-- The ids of entries sort by time; a row knows the first and the last of its own.
CREATE TABLE ledger (
  leaf     {int} PRIMARY KEY,
  count    {int} NOT NULL CHECK (count > 0),
  first_id TEXT NOT NULL,
  last_id  TEXT NOT NULL,
  entries  TEXT NOT NULL
) {strict};
CREATE INDEX ledger_ids ON ledger (first_id, last_id);

CREATE TABLE ledger_heads (
  stream TEXT PRIMARY KEY,
  seq    {int} NOT NULL,
  hash   TEXT NOT NULL
) {keyed};

-- Inner nodes of the tree that make proofs short.
CREATE TABLE ledger_nodes (
  level {int} NOT NULL,
  idx   {int} NOT NULL,
  hash  TEXT NOT NULL,
  PRIMARY KEY (level, idx)
) {keyed};

CREATE TABLE checkpoints (
  size {int} PRIMARY KEY,
  at   {int} NOT NULL,
  body TEXT NOT NULL
) {strict};

-- What a person must see to; ended when it is mended.
CREATE TABLE alerts (
  id         TEXT PRIMARY KEY,
  subject    TEXT NOT NULL,
  code       TEXT NOT NULL,
  message    TEXT NOT NULL,
  since      {int} NOT NULL,
  ended_at   {int}
) {strict};
CREATE UNIQUE INDEX alerts_open ON alerts (subject, code) WHERE ended_at IS NULL;
