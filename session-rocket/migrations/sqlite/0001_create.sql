-- Sessions and tombstones. Moments are milliseconds since the Unix epoch; a row without a payload is a tombstone, whose
-- `moved_to` is the key the session moved to, or NULL when it ended.
CREATE TABLE IF NOT EXISTS {table} (
    key        BLOB    NOT NULL PRIMARY KEY,
    scope      TEXT    NOT NULL,
    identity   TEXT,
    payload    BLOB,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    moved_to   BLOB
);

CREATE INDEX IF NOT EXISTS {table:expires_at} ON {table} (expires_at);

CREATE INDEX IF NOT EXISTS {table:identity} ON {table} (scope, identity) WHERE identity IS NOT NULL;
