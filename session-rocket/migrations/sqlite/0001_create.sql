-- Sessions and tombstones. Moments are milliseconds since the Unix epoch; a row without a payload is a tombstone, whose
-- `moved_to` is the key the session moved to, or NULL when it ended. A row does not expire before `sweep_at`: saves leave
-- that as it is, so that they change no index.
CREATE TABLE IF NOT EXISTS {table} (
    key        BLOB    NOT NULL PRIMARY KEY,
    scope      TEXT    NOT NULL,
    identity   TEXT,
    payload    BLOB,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    sweep_at   INTEGER NOT NULL,
    moved_to   BLOB
);

CREATE INDEX IF NOT EXISTS {table:sweep_at} ON {table} (sweep_at);

CREATE INDEX IF NOT EXISTS {table:identity} ON {table} (scope, identity) WHERE identity IS NOT NULL;
