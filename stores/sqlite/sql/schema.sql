-- Format 1. A change here is a new format: raise FORMAT, keep the old fixture readable.

-- Single values: `store` names the store, `revision` counts commits that wrote documents.
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- Texts that come again and again are kept once.
CREATE TABLE tenants (tenant_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE sources (source_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE names (
    name_id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (tenant_id, name)
);
CREATE TABLE streams (
    stream_id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (tenant_id, name)
);

-- The log. `recorded` is in microseconds since 1970, `time` is the event's own time less `recorded`, or null.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    name_id INTEGER NOT NULL,
    recorded INTEGER NOT NULL,
    time INTEGER,
    header BLOB NOT NULL,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX events_by_stream ON events (stream_id, version);

-- Every id there has ever been; rows are never removed. `before` and `after` count the events of the same append that
-- came before and after it; `evidence` holds a hash of who it is and one of its content.
CREATE TABLE ids (
    id_key INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    before INTEGER NOT NULL,
    after INTEGER NOT NULL,
    evidence INTEGER NOT NULL
);

-- What events can be asked for by: a positive term is a name's id, a negative one the hash of a tag, of a category that
-- does not follow from the name, or of a key that does not follow from the stream.
CREATE TABLE terms (term INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (term, position)) WITHOUT ROWID;

-- The earliest and latest event time in each complete block of 1,024 positions; the block the log is in has none yet.
CREATE TABLE zones (block INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL);

CREATE TABLE documents (
    tenant TEXT NOT NULL,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    indexed BLOB,
    value BLOB NOT NULL,
    PRIMARY KEY (tenant, namespace, id)
) WITHOUT ROWID;
CREATE TABLE document_fields (
    tenant TEXT NOT NULL,
    namespace TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (tenant, namespace, field, value, id)
) WITHOUT ROWID;

CREATE TABLE checkpoints (
    name TEXT PRIMARY KEY, revision INTEGER NOT NULL, watermark INTEGER NOT NULL, settled BLOB NOT NULL
) WITHOUT ROWID;

-- `node` names the lock file of the process that has the lease.
CREATE TABLE leases (
    name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, owner TEXT, until INTEGER NOT NULL, node TEXT
) WITHOUT ROWID;

CREATE TABLE due (
    tenant TEXT NOT NULL,
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    due INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (tenant, queue, id)
) WITHOUT ROWID;
CREATE INDEX due_by_time ON due (queue, due, id, tenant);

CREATE TABLE blobs (
    blob_id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, bytes BLOB NOT NULL, UNIQUE (tenant, name)
);

-- For people with a SQLite shell.
CREATE VIEW log AS
SELECT e.position,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.recorded / 1000000.0, 'unixepoch') AS recorded,
       t.name AS tenant,
       s.name AS stream,
       e.version,
       n.name AS name,
       strftime('%Y-%m-%dT%H:%M:%fZ', (e.recorded + e.time) / 1000000.0, 'unixepoch') AS time,
       CAST(e.payload AS TEXT) AS payload
FROM events e
JOIN streams s USING (stream_id)
JOIN names n USING (name_id)
JOIN tenants t ON t.tenant_id = s.tenant_id;
CREATE VIEW waiting AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', due / 1000000.0, 'unixepoch') AS due, tenant, queue, id,
       CAST(body AS TEXT) AS body
FROM due;

INSERT INTO tenants (tenant_id, name) VALUES (1, '');
INSERT INTO meta (name, value) VALUES ('revision', 0);
