-- Sessions and tombstones. Moments are milliseconds since the Unix epoch; a row without a payload is a tombstone, whose
-- `moved_to` is the key the session moved to, or NULL when it ended. An identity is UTF-8 that may hold any character:
-- `convert_from(identity, 'UTF8')` shows it. A row does not expire before `sweep_at`: saves leave that as it is, so that
-- they change no index, and with room left in its page a new row needs no entry in any.
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
