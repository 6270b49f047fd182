-- Sessions and tombstones. Moments are milliseconds since the Unix epoch; a row without a payload is a tombstone, whose
-- `moved_to` is the key the session moved to, or NULL when it ended. An identity is UTF-8 that may hold any character:
-- `convert_from(identity, 'UTF8')` shows it.
CREATE TABLE IF NOT EXISTS {table} (
    key        BYTEA  NOT NULL PRIMARY KEY,
    scope      TEXT   NOT NULL COLLATE "C",
    identity   BYTEA,
    payload    BYTEA,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    moved_to   BYTEA
);

CREATE INDEX IF NOT EXISTS {table:expires_at} ON {table} (expires_at);

CREATE INDEX IF NOT EXISTS {table:identity} ON {table} (scope, identity) WHERE identity IS NOT NULL;
