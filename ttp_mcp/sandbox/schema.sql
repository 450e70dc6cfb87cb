-- The sandbox's data. Instants are INTEGER milliseconds since 1970 in UTC; lists and objects are JSON text.
-- The version of this schema is PRAGMA user_version; store.py migrates older files.

CREATE TABLE meta (
  key TEXT PRIMARY KEY,               -- clock_offset_ms, clock_frozen_ms, signing_key, vendor_endpoints
  value TEXT NOT NULL
) STRICT;

CREATE TABLE organizations (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  plan TEXT NOT NULL,                 -- complete | small
  time_zone TEXT NOT NULL             -- IANA name; hours and days of the analytics are in it
) STRICT;

CREATE TABLE users (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL
) STRICT;

CREATE TABLE members (
  user_id TEXT NOT NULL REFERENCES users (id),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  position INTEGER NOT NULL,          -- the lowest is the active organization
  PRIMARY KEY (user_id, organization_id)
) STRICT;

CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id),
  label TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,          -- SHA-256 of the token, hex; the token itself is never stored
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER,
  last_used_at INTEGER,
  capability TEXT NOT NULL DEFAULT 'publish'   -- read | draft | publish; each includes those before it
) STRICT;

CREATE TABLE accounts (
  id TEXT PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  position INTEGER NOT NULL,
  platform TEXT NOT NULL,             -- key as the API spells it: twitter, instagram …
  name TEXT NOT NULL,
  handle TEXT,
  status TEXT NOT NULL,               -- connected | expired
  expires_at INTEGER,
  has_refresh_capability INTEGER NOT NULL,
  followers INTEGER NOT NULL,
  connected_at INTEGER NOT NULL
) STRICT;
CREATE INDEX accounts_by_organization ON accounts (organization_id, position);

CREATE TABLE posts (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,   -- order of creation: newest first is sequence descending
  id TEXT NOT NULL UNIQUE,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  content TEXT NOT NULL,
  status TEXT NOT NULL,               -- draft | scheduled | publishing | published | failed | partial
  scheduled_at INTEGER,
  published_at INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  media_urls TEXT NOT NULL DEFAULT '[]',
  thread TEXT NOT NULL DEFAULT '[]',
  platform_data TEXT NOT NULL DEFAULT '{}',
  lease_until INTEGER,                -- a worker owns the post until then
  fence INTEGER NOT NULL DEFAULT 0    -- grows with each claim; an effect is recorded only under the current one
) STRICT;
CREATE INDEX posts_by_organization ON posts (organization_id, sequence DESC);
-- The page's calendar and its counts by status. Drafts are the rows without a time.
CREATE INDEX posts_by_time ON posts (organization_id, scheduled_at, status);
-- The limits of a plan.
CREATE INDEX posts_by_creation ON posts (organization_id, created_at);
CREATE INDEX posts_waiting ON posts (organization_id, status) WHERE status = 'scheduled';
CREATE INDEX posts_due ON posts (scheduled_at) WHERE status = 'scheduled';
CREATE INDEX posts_leased ON posts (lease_until) WHERE status = 'publishing';

CREATE TABLE post_targets (
  post_id TEXT NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  position INTEGER NOT NULL,
  status TEXT NOT NULL,               -- pending | published | failed
  external_id TEXT,
  url TEXT,
  error TEXT,
  published_at INTEGER,
  PRIMARY KEY (post_id, account_id)
) STRICT;
CREATE INDEX post_targets_by_account ON post_targets (account_id);

CREATE TABLE publications (           -- what the simulated networks show; stays when the post is deleted
  id TEXT PRIMARY KEY,                -- the network's own id
  post_id TEXT NOT NULL,
  organization_id TEXT NOT NULL,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  platform TEXT NOT NULL,
  content TEXT NOT NULL,
  thread TEXT NOT NULL,
  media_urls TEXT NOT NULL,
  url TEXT NOT NULL,
  published_at INTEGER NOT NULL,
  likes INTEGER NOT NULL DEFAULT 0,
  comments INTEGER NOT NULL DEFAULT 0,
  shares INTEGER NOT NULL DEFAULT 0,
  views INTEGER NOT NULL DEFAULT 0,
  measured_at INTEGER NOT NULL,       -- when the four figures were last brought up to date
  settled INTEGER NOT NULL DEFAULT 0, -- 1: old enough that the figures no longer grow
  UNIQUE (post_id, account_id)
) STRICT;
CREATE INDEX publications_by_account ON publications (account_id, published_at DESC);
CREATE INDEX publications_by_organization ON publications (organization_id, published_at DESC);
CREATE INDEX publications_growing ON publications (measured_at) WHERE settled = 0;

CREATE TABLE media (
  key TEXT PRIMARY KEY,               -- path below the storage origin
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  filename TEXT NOT NULL,
  content_type TEXT NOT NULL,
  size INTEGER NOT NULL,              -- bytes, as declared and enforced
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,        -- of the presigned URL
  uploaded_at INTEGER,                -- null until a PUT completed
  sha256 TEXT
) STRICT;
CREATE INDEX media_by_organization ON media (organization_id, created_at DESC);

CREATE TABLE faults (                 -- misbehaviour on request
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  method TEXT,                        -- null: any
  path_prefix TEXT,                   -- null: any
  remaining INTEGER NOT NULL,         -- how many more requests it hits
  seconds REAL NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE activity (               -- what was asked of the API last; never a token
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  organization_id TEXT,
  token_label TEXT,
  method TEXT NOT NULL,
  path TEXT NOT NULL,
  status INTEGER NOT NULL,
  summary TEXT NOT NULL
) STRICT;
CREATE INDEX activity_by_organization ON activity (organization_id, id DESC);
