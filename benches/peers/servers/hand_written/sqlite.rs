//! Sessions in SQLite.

use std::str::FromStr;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::types::Json;

use crate::{CONNECTIONS, Payload, Result, Visits, now_and_end};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS session \
     (id TEXT NOT NULL PRIMARY KEY, payload TEXT NOT NULL, expires_at INTEGER NOT NULL)";
const SELECT: &str = "SELECT payload FROM session WHERE id = ? AND expires_at > ?";
const INSERT: &str = "INSERT INTO session (id, payload, expires_at) VALUES (?, ?, ?)";
const SAVE: &str = "UPDATE session SET payload = ?, expires_at = ? WHERE id = ?";
const COUNT: &str = "UPDATE session \
     SET payload = json_set(payload, '$.num_visits', json_extract(payload, '$.num_visits') + 1), expires_at = ? \
     WHERE id = ? AND expires_at > ? RETURNING json_extract(payload, '$.num_visits')";

pub struct Db(SqlitePool);

impl Db {
    pub async fn open(store: &str) -> Result<Self> {
        let (file, synchronous) = store.split_once("?synchronous=").ok_or("`synchronous` is missing")?;
        let options = SqliteConnectOptions::from_str(file)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::from_str(synchronous)?)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
        sqlx::query(TABLE).execute(&pool).await?;
        Ok(Self(pool))
    }

    pub async fn get(&self, id: &str) -> Result<Option<u32>> {
        let (now, _) = now_and_end();
        let found: Option<Json<Visits>> = sqlx::query_scalar(SELECT).bind(id).bind(now).fetch_optional(&self.0).await?;
        Ok(found.map(|payload| payload.num_visits))
    }

    pub async fn count(&self, id: &str) -> Result<Option<u32>> {
        let (now, end) = now_and_end();
        Ok(sqlx::query_scalar(COUNT).bind(end).bind(id).bind(now).fetch_optional(&self.0).await?)
    }

    pub async fn load_and_save(&self, id: &str) -> Result<Option<u32>> {
        let (now, end) = now_and_end();
        let found: Option<Json<Payload>> =
            sqlx::query_scalar(SELECT).bind(id).bind(now).fetch_optional(&self.0).await?;
        let Some(mut payload) = found else { return Ok(None) };
        payload.num_visits += 1;
        sqlx::query(SAVE).bind(&payload).bind(end).bind(id).execute(&self.0).await?;
        Ok(Some(payload.num_visits))
    }

    pub async fn create(&self, id: &str, payload: &Payload) -> Result<()> {
        let (_, end) = now_and_end();
        sqlx::query(INSERT).bind(id).bind(Json(payload)).bind(end).execute(&self.0).await?;
        Ok(())
    }
}
