-- Sessions and tombstones. Times are in milliseconds since the Unix epoch. A row without a payload is a tombstone. Its
-- `moved_to` is the new key of the session, or NULL if the session ended. Identities are UTF-8 in BYTEA, because TEXT cannot
-- contain a NUL character. `convert_from(identity, 'UTF8')` shows an identity without NUL. `sweep_at` is never after
-- `expires_at`. Most saves keep `sweep_at`; if the page has room for the new version of the row, they update no index.
CREATE TABLE IF NOT EXISTS {table} (
    key        BYTEA  NOT NULL PRIMARY KEY,
    scope      TEXT   NOT NULL COLLATE "C",
    identity   BYTEA,
    payload    BYTEA,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    sweep_at   BIGINT NOT NULL,
    moved_to   BYTEA
) WITH (fillfactor = 80);

CREATE INDEX IF NOT EXISTS {table:sweep_at} ON {table} (sweep_at);

CREATE INDEX IF NOT EXISTS {table:identity} ON {table} (scope, identity) WHERE identity IS NOT NULL;
