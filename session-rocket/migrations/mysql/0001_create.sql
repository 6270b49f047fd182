-- Sessions and tombstones. Times are in milliseconds since the Unix epoch. A row without a payload is a tombstone. Its
-- `moved_to` is the new key of the session, or NULL if the session ended. Scopes and identities are UTF-8 in binary columns,
-- because a collation can treat different strings as equal. `sweep_at` is never after `expires_at`. Most saves keep
-- `sweep_at`, so that they update no index.
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
