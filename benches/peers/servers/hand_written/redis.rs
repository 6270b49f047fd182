//! Sessions in Redis, with one connection that all requests share.

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Client, Script};

use crate::{LIFETIME, Payload, Result, Visits};

/// Replaces the value ARGV[1] with ARGV[2]. Returns whether it did, and the previous value.
const SWAP: &str = "local found = redis.call('GET', KEYS[1]) \
     if found ~= ARGV[1] then return {0, found} end \
     redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) \
     return {1, found}";

pub struct Db {
    connection: MultiplexedConnection,
    swap: Script,
}

impl Db {
    pub async fn open(store: &str) -> Result<Self> {
        let connection = Client::open(store)?.get_multiplexed_async_connection().await?;
        Ok(Self { connection, swap: Script::new(SWAP) })
    }

    pub async fn get(&self, id: &str) -> Result<Option<u32>> {
        let found: Option<Vec<u8>> = self.connection.clone().get(key(id)).await?;
        let visits: Option<Visits> = found.map(|json| serde_json::from_slice(&json)).transpose()?;
        Ok(visits.map(|visits| visits.num_visits))
    }

    pub async fn count(&self, id: &str) -> Result<Option<u32>> {
        let (mut connection, key) = (self.connection.clone(), key(id));
        let mut found: Option<Vec<u8>> = connection.get(&key).await?;
        while let Some(json) = found {
            let mut payload: Payload = serde_json::from_slice(&json)?;
            payload.num_visits += 1;
            let new = serde_json::to_vec(&payload)?;
            let mut swap = self.swap.key(&key);
            swap.arg(&json).arg(&new).arg(LIFETIME.as_secs());
            let swapped;
            (swapped, found) = swap.invoke_async(&mut connection).await?;
            if swapped {
                return Ok(Some(payload.num_visits));
            }
        }
        Ok(None)
    }

    pub async fn create(&self, id: &str, payload: &Payload) -> Result<()> {
        let json = serde_json::to_vec(payload)?;
        let () = self.connection.clone().set_ex(key(id), json, LIFETIME.as_secs()).await?;
        Ok(())
    }
}

fn key(id: &str) -> String {
    format!("session:{id}")
}
