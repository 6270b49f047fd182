//! The calls for one session.

use bytes::Bytes;
use redis::Value;

use super::fault::unexpected_reply;
use super::node::command;
use super::script::{Script, ScriptReply};
use super::server::{CLOCK_SKEW, MAX_RETENTION, Server};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Lookup, envelope};

/// The maximum size of a Redis string, in bytes.
const MAX_STRING: usize = 512 * 1024 * 1024;

impl Server {
    pub(super) async fn load(&self, key: &Key) -> Result<Lookup> {
        self.load_bytes(key).await?.map_or(Ok(Lookup::Absent), |entry| self.decode(entry))
    }

    /// Returns the encoded entry at `key`.
    pub(super) async fn load_bytes(&self, key: &Key) -> Result<Option<Bytes>> {
        let name = self.name(key);
        match self.call(&name, command(("GET", &name))).await? {
            Value::Nil => Ok(None),
            Value::BulkString(entry) => Ok(Some(Bytes::from(entry))),
            _ => Err(unexpected_reply()),
        }
    }

    pub(super) fn decode(&self, entry: Bytes) -> Result<Lookup> {
        envelope::decode_live(entry, self.now())
    }

    /// Creates a record, or replaces the record of the version `expected`.
    pub(super) async fn write(&self, key: &Key, expected: Option<Version>, record: &Record) -> Result<ScriptReply> {
        let encoded = envelope::encode_record(record)?;
        if encoded.len() > MAX_STRING {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "a session is larger than 512 MiB, the limit of Redis: lower `max_size`",
            ));
        }
        // The index is changed first. Otherwise, a live session could be missing from the index.
        if let Some(identity) = &record.identity {
            self.add_to_index(&record.scope, identity, key, record.expires_at).await?;
        }
        match expected {
            Some(_) => self.replace(key, expected, &encoded, record.expires_at).await,
            None => self.run_on(key, &self.scripts.create, &encoded, record.expires_at, &[]).await,
        }
    }

    pub(super) async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<ScriptReply> {
        let (expiry, version) = (expires_at.as_millis().to_be_bytes(), version_bytes(expected));
        let touched = self.run_on(key, &self.scripts.touch, &expiry, expires_at, &[&version]).await?;
        if let ScriptReply::Changed(Some((scope, identity))) = &touched {
            self.add_to_index(scope, identity, key, expires_at).await?;
        }
        Ok(touched)
    }

    /// Replaces a record with a tombstone, if the record's version is `expected` or `expected` is `None`.
    pub(super) async fn retire(
        &self,
        key: &Key,
        expected: Option<Version>,
        tombstone: Tombstone,
    ) -> Result<ScriptReply> {
        self.replace(key, expected, &envelope::encode_tombstone(tombstone), tombstone.expires_at).await
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        let name = self.name(key);
        self.call(&name, command(("DEL", &name))).await?;
        Ok(())
    }

    fn name(&self, key: &Key) -> String {
        [self.prefix.as_str(), &key.to_hex()].concat()
    }

    async fn replace(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &[u8],
        expires_at: Timestamp,
    ) -> Result<ScriptReply> {
        let version = expected.map(version_bytes);
        let condition = version.as_ref().map_or(&[][..], |version| version);
        self.run_on(key, &self.scripts.replace, value, expires_at, &[condition]).await
    }

    /// Runs a script on `key`. Its arguments are: now, `value`, the milliseconds until Redis removes the key, `conditions`.
    async fn run_on(
        &self,
        key: &Key,
        script: &Script,
        value: &[u8],
        expires_at: Timestamp,
        conditions: &[&[u8]],
    ) -> Result<ScriptReply> {
        let now = self.now();
        // Redis keeps the key a little longer, because the clocks of machines differ.
        let retention = now.until(expires_at).saturating_add(CLOCK_SKEW).min(MAX_RETENTION);
        let arguments = (&now.as_millis().to_be_bytes(), value, retention.as_millis(), conditions);
        ScriptReply::read(self.run(script, &self.name(key), &arguments).await?, now)
    }
}

/// Returns a version in the form that scripts compare.
fn version_bytes(version: Version) -> [u8; 8] {
    version.bits().to_be_bytes()
}
