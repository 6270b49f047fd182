//! The calls for one session: each is one command or script, which the server runs as a whole.

use bytes::Bytes;
use redis::{Value, cmd};

use super::fault::unexpected_reply;
use super::script::{Script, ScriptReply};
use super::server::{CLOCK_SKEW, MAX_KEPT, Server};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Lookup, Touch, envelope};

/// The maximum size of a Redis string, in bytes.
const MAX_STRING: usize = 512 * 1024 * 1024;

impl Server {
    pub(super) async fn load(&self, key: &Key) -> Result<Lookup> {
        let name = self.name(key);
        match self.call(&name, cmd("GET").arg(&name)).await? {
            Value::Nil => Ok(Lookup::Absent),
            Value::BulkString(held) => envelope::open(Bytes::from(held), self.now()),
            _ => Err(unexpected_reply()),
        }
    }

    pub(super) async fn create(&self, key: &Key, record: &Record) -> Result<ScriptReply> {
        self.write(&self.scripts.create, key, record, None).await
    }

    pub(super) async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<ScriptReply> {
        self.write(&self.scripts.update, key, record, Some(expected)).await
    }

    /// Adds the record to its identity's index, then writes it. In the other order, a live session might not be listed.
    async fn write(
        &self,
        script: &Script,
        key: &Key,
        record: &Record,
        expected: Option<Version>,
    ) -> Result<ScriptReply> {
        let sealed = envelope::seal_record(record)?;
        if sealed.len() > MAX_STRING {
            return Err(Error::new(ErrorKind::TooLarge, "a session is larger than the 512 MiB that Redis takes"));
        }
        if let Some(identity) = &record.identity {
            self.enlist(&record.scope, identity, key, record.expires_at).await?;
        }
        let now = self.now();
        self.run_on(key, script, &[&sealed, kept(now, record.expires_at).as_bytes(), &bits(expected)], now).await
    }

    pub(super) async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let now = self.now();
        let (moment, kept, expected) = (moment(expires_at), kept(now, expires_at), bits(Some(expected)));
        match self.run_on(key, &self.scripts.touch, &[&moment, kept.as_bytes(), &expected], now).await? {
            ScriptReply::Done => Ok(Touch::Touched),
            ScriptReply::DoneFor(scope, identity) => {
                self.enlist(&scope, &identity, key, expires_at).await.map(|()| Touch::Touched)
            }
            ScriptReply::Held(Lookup::Found(_)) => Ok(Touch::Conflict),
            ScriptReply::Held(_) => Ok(Touch::Gone),
        }
    }

    /// Ends a session if it has the version `expected` and the owner `owner`. No version and an empty owner match all.
    pub(super) async fn end(
        &self,
        key: &Key,
        expected: Option<Version>,
        owner: &[u8],
        tombstone: Tombstone,
    ) -> Result<ScriptReply> {
        let now = self.now();
        let (sealed, kept) = (envelope::seal_tombstone(tombstone), kept(now, tombstone.expires_at));
        self.run_on(key, &self.scripts.retire, &[&sealed, kept.as_bytes(), &bits(expected), owner], now).await
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        let name = self.name(key);
        self.call(&name, cmd("DEL").arg(&name)).await?;
        Ok(())
    }

    fn name(&self, key: &Key) -> String {
        format!("{}{}", self.prefix, key.to_hex())
    }

    /// Runs a script on the content of `key`.
    async fn run_on(&self, key: &Key, script: &Script, arguments: &[&[u8]], now: Timestamp) -> Result<ScriptReply> {
        let moment = moment(now);
        let arguments = [&[moment.as_slice()], arguments].concat();
        ScriptReply::read(self.run(script, &self.name(key), &arguments).await?, now)
    }
}

/// A moment as scripts compare it.
fn moment(moment: Timestamp) -> [u8; 8] {
    moment.as_millis().to_be_bytes()
}

/// A version as scripts compare it; empty for any version.
fn bits(version: Option<Version>) -> Vec<u8> {
    version.map(|version| version.bits().to_be_bytes().to_vec()).unwrap_or_default()
}

/// The number of milliseconds after which Redis removes a key that expires at `until`: a bit later, because clocks differ.
fn kept(now: Timestamp, until: Timestamp) -> String {
    now.until(until).saturating_add(CLOCK_SKEW).min(MAX_KEPT).as_millis().to_string()
}
