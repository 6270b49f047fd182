//! Sessions in a redb database: an embedded file, one writer at a time, every commit on the disk.

use std::sync::Arc;

use async_trait::async_trait;
use redb::{Database, ReadableTable, Table, TableDefinition};
use session_rocket::store::{Create, Lookup, Retire, Store, Touch, Update};
use session_rocket::{Clock, Error, ErrorKind, Fate, Key, Record, Result, Timestamp, Tombstone, Version};

/// The end; version, creation and update; identity, scope and payload; or, of a session that is gone, where it went:
/// to another key, or nowhere.
type Row<'a> = (i64, (u64, i64, i64), (Option<&'a str>, &'a str, &'a [u8]), Option<Option<[u8; 32]>>);

const SESSIONS: TableDefinition<'_, [u8; 32], Row<'static>> = TableDefinition::new("sessions");

pub struct RedbStore {
    pub database: Arc<Database>,
    pub clock: Arc<dyn Clock>,
}

struct Call<'t> {
    sessions: Table<'t, [u8; 32], Row<'static>>,
    now: Timestamp,
}

impl RedbStore {
    /// Runs a call as one transaction, on a thread that may wait for the disk. The task runs to its end even if the
    /// caller goes away: the call happens, or it does not (clause 10).
    async fn run<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Call<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (database, now) = (self.database.clone(), self.clock.now());
        let transact = move || {
            let transaction = database.begin_write().map_err(failed)?;
            let answer = call(&mut Call { sessions: transaction.open_table(SESSIONS).map_err(failed)?, now })?;
            transaction.commit().map(|()| answer).map_err(failed)
        };
        rocket::tokio::task::spawn_blocking(transact).await.map_err(failed)?
    }
}

/// What cannot be read or written is an error, never an answer (clause 11).
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::with_source(ErrorKind::Unavailable, "redb failed", error)
}

impl Call<'_> {
    fn look(&self, key: &Key) -> Result<Lookup> {
        let Some(row) = self.sessions.get(key.as_bytes()).map_err(failed)? else { return Ok(Lookup::Absent) };
        let (end, (version, created_at, updated_at), (identity, scope, payload), gone) = row.value();
        let (at, expires_at) = (Timestamp::from_millis, Timestamp::from_millis(end));
        // Expired is absent, to the millisecond, swept or not (clause 7).
        if expires_at <= self.now {
            return Ok(Lookup::Absent);
        }
        if let Some(to) = gone {
            let fate = to.map_or(Fate::Ended, |to| Fate::Moved(Key::from_bytes(to)));
            return Ok(Lookup::Tombstone(Tombstone { fate, expires_at }));
        }
        let mut record = Record::new(scope, payload.to_vec(), Version::from_bits(version), at(updated_at), expires_at);
        record.created_at = at(created_at);
        record.identity = identity.map(ToOwned::to_owned);
        Ok(Lookup::Found(record))
    }

    fn put(&mut self, key: &Key, row: &Row<'_>) -> Result<()> {
        self.sessions.insert(key.as_bytes(), row).map(drop).map_err(failed)
    }
}

fn row(record: &Record) -> Row<'_> {
    let Record { payload, version, created_at, updated_at, expires_at, identity, scope, .. } = record;
    let moments = (version.bits(), created_at.as_millis(), updated_at.as_millis());
    (expires_at.as_millis(), moments, (identity.as_deref(), scope, payload), None)
}

#[async_trait]
impl Store for RedbStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        let key = *key;
        self.run(move |call| call.look(&key)).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let (key, record) = (*key, record.clone());
        self.run(move |call| match call.look(&key)? {
            Lookup::Absent => call.put(&key, &row(&record)).map(|()| Create::Created),
            _ => Ok(Create::Taken),
        })
        .await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let (key, record) = (*key, record.clone());
        self.run(move |call| match call.look(&key)? {
            Lookup::Found(found) if found.version == expected => {
                call.put(&key, &row(&record)).map(|()| Update::Updated)
            }
            Lookup::Found(found) => Ok(Update::Conflict(found)),
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Ok(Update::Moved(to)),
            _ => Ok(Update::Gone),
        })
        .await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let key = *key;
        self.run(move |call| match call.look(&key)? {
            Lookup::Found(mut found) if found.version == expected => {
                found.expires_at = found.expires_at.max(expires_at);
                call.put(&key, &row(&found)).map(|()| Touch::Touched)
            }
            Lookup::Found(_) => Ok(Touch::Conflict),
            _ => Ok(Touch::Gone),
        })
        .await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let key = *key;
        self.run(move |call| match call.look(&key)? {
            Lookup::Found(found) if expected.is_some_and(|expected| expected != found.version) => {
                Ok(Retire::Conflict(found))
            }
            Lookup::Found(_) => {
                let to = if let Fate::Moved(to) = tombstone.fate { Some(*to.as_bytes()) } else { None };
                let end = tombstone.expires_at.as_millis();
                call.put(&key, &(end, (0, 0, 0), (None, "", b""), Some(to))).map(|()| Retire::Retired)
            }
            _ => Ok(Retire::Gone),
        })
        .await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let key = *key;
        self.run(move |call| call.sessions.remove(key.as_bytes()).map(drop).map_err(failed)).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.run(move |call| {
            let now = call.now.as_millis();
            let expired = call.sessions.extract_if(|_, (end, ..)| end <= now).map_err(failed)?;
            Ok(expired.take(limit as usize).count() as u64)
        })
        .await
    }
}
