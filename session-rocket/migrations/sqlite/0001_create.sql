-- Sessions and tombstones. Times are in milliseconds since the Unix epoch. A row without a payload is a tombstone. Its
-- `moved_to` is the new key of the session, or NULL if the session ended. `sweep_at` is never after `expires_at`. Most saves
-- keep `sweep_at`, so that they update no index.
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
