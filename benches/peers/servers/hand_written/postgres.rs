//! Sessions in PostgreSQL.

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use sqlx::types::Json;

use crate::{CONNECTIONS, Payload, Result, Visits, now_and_end};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS session \
     (id TEXT NOT NULL PRIMARY KEY, payload JSONB NOT NULL, expires_at BIGINT NOT NULL)";
const SELECT: &str = "SELECT payload FROM session WHERE id = $1 AND expires_at > $2";
const INSERT: &str = "INSERT INTO session (id, payload, expires_at) VALUES ($1, $2, $3)";
const SAVE: &str = "UPDATE session SET payload = $1, expires_at = $2 WHERE id = $3";
const COUNT: &str = "UPDATE session \
     SET payload = jsonb_set(payload, '{num_visits}', to_jsonb((payload->>'num_visits')::integer + 1)), \
     expires_at = $1 \
     WHERE id = $2 AND expires_at > $3 RETURNING (payload->>'num_visits')::integer";

pub struct Db(PgPool);

impl Db {
    pub async fn open(store: &str) -> Result<Self> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(store).await?;
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
        let number: Option<i32> =
            sqlx::query_scalar(COUNT).bind(end).bind(id).bind(now).fetch_optional(&self.0).await?;
        Ok(number.map(u32::try_from).transpose()?)
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
