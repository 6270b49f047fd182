//! Sessions in a redb database: an embedded file, one writer at a time, every commit on the disk.

use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableTable, Table, TableDefinition};
use session_rocket::store::key_value::KeyValue;
use session_rocket::{Error, ErrorKind, Key, Result, Timestamp};

/// When the entry expires, in milliseconds, and the entry.
type Row = (i64, &'static [u8]);
const SESSIONS: TableDefinition<'_, [u8; 32], Row> = TableDefinition::new("sessions");

pub struct Redb(pub Arc<Database>);

impl Redb {
    /// Runs `call` in one transaction, which finishes even if the caller drops the future (clause 10).
    async fn transact<R, F>(&self, call: F) -> Result<R>
    where
        R: Send + 'static,
        F: FnOnce(&mut Table<'_, [u8; 32], Row>) -> Result<R, redb::Error> + Send + 'static,
    {
        let database = self.0.clone();
        let transact = move || {
            let transaction = database.begin_write()?;
            let reply = call(&mut transaction.open_table(SESSIONS)?)?;
            transaction.commit()?;
            Ok::<R, redb::Error>(reply)
        };
        rocket::tokio::task::spawn_blocking(transact).await.map_err(failed)?.map_err(failed)
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::with_source(ErrorKind::Unavailable, "redb failed", error)
}

impl KeyValue for Redb {
    type Tag = Bytes;

    async fn load(&self, key: &Key) -> Result<Option<(Bytes, Bytes)>> {
        let key = *key.as_bytes();
        let value = self.transact(move |table| Ok(table.get(key)?.map(|row| Bytes::copy_from_slice(row.value().1))));
        Ok(value.await?.map(|value| (value.clone(), value)))
    }

    async fn swap(&self, key: &Key, expected: Option<Bytes>, value: Bytes, expires_at: Timestamp) -> Result<bool> {
        let key = *key.as_bytes();
        self.transact(move |table| {
            let unchanged = table.get(key)?.as_ref().map(|row| row.value().1) == expected.as_deref();
            if unchanged {
                table.insert(key, (expires_at.as_millis(), &value[..]))?;
            }
            Ok(unchanged)
        })
        .await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let key = *key.as_bytes();
        self.transact(move |table| Ok(table.remove(key).map(drop)?)).await
    }

    async fn delete_expired(&self, limit: u32, now: Timestamp) -> Result<u64> {
        self.transact(move |table| {
            let expired = table.extract_if(|_, (expires_at, _)| expires_at <= now.as_millis())?;
            Ok(expired.take(limit as usize).count() as u64)
        })
        .await
    }
}
