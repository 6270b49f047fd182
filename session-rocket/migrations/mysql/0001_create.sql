-- Sessions and tombstones. Moments are milliseconds since the Unix epoch; a row without a payload is a tombstone, whose
-- `moved_to` is the key the session moved to, or NULL when it ended. Scopes and identities are UTF-8 in binary columns,
-- whatever the character set: collations take different texts for the same. A row does not expire before `sweep_at`: saves
-- leave that as it is, so that they change no index.
CREATE TABLE IF NOT EXISTS {table} (
    `key`      BINARY(32)     NOT NULL PRIMARY KEY,
    scope      VARBINARY(255) NOT NULL,
    identity   VARBINARY(255),
    payload    LONGBLOB,
    version    BIGINT         NOT NULL,
    created_at BIGINT         NOT NULL,
    updated_at BIGINT         NOT NULL,
    expires_at BIGINT         NOT NULL,
    sweep_at   BIGINT         NOT NULL,
    moved_to   BINARY(32),
    INDEX {table:sweep_at} (sweep_at),
    INDEX {table:identity} (scope, identity)
) ENGINE = InnoDB;
