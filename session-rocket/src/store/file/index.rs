//! Whose sessions are whose: a folder for each identity of each scope, in it an empty file for each of its records.
//!
//! The file is there before its record belongs to the identity, and is removed after, both under the record's lock: a
//! live record is always listed. What a killed process left behind is removed by who meets it.

use sha2::{Digest, Sha256};

use super::folder::{Folder, key_of, vanishes};
use super::records;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::Key;
use crate::store::Lookup;
use crate::store::record::Record;

const FOLDER: &str = "identities";
/// So often is a folder made anew that a sweep removed while it was still empty.
const TRIES: usize = 100;

/// The name of the folder of an identity in a scope, from which neither can be read.
pub(super) fn home(scope: &str, identity: &str) -> String {
    let length = u64::try_from(scope.len()).unwrap_or(u64::MAX).to_be_bytes();
    let digest = Sha256::new().chain_update(length).chain_update(scope).chain_update(identity).finalize();
    Key::from_bytes(digest.into()).to_hex()
}

/// The name of the folder that a record belongs to.
pub(super) fn home_of(record: &Record) -> Option<String> {
    record.identity.as_deref().map(|identity| home(&record.scope, identity))
}

/// Lists the key; if it may not be listed yet, through to the disk.
pub(super) fn mark(root: &Folder, home: &str, key: &Key, is_listed: bool) -> Result<()> {
    for _ in 0..TRIES {
        let all = root.make_lasting(FOLDER)?;
        // Not through to the disk before the mark is in it: while it is empty, a sweep may remove it.
        let folder = all.make(home)?;
        if folder.open_or_make(&key.to_hex())?.is_none() {
            continue;
        }
        if !is_listed {
            folder.sync()?;
            // Another process may have made the folder, and been killed since.
            all.sync()?;
        }
        return Ok(());
    }
    Err(vanishes())
}

/// Takes the key off the list.
pub(super) fn unmark(root: &Folder, home: &str, key: &Key) -> Result<()> {
    let Some(all) = root.find(FOLDER)? else { return Ok(()) };
    let Some(folder) = all.find(home)? else { return Ok(()) };
    folder.remove(&key.to_hex()).map(|_| ())
}

/// The keys that are listed: those of all its records, and maybe more.
pub(super) fn marked(root: &Folder, home: &str) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    let Some(all) = root.find(FOLDER)? else { return Ok(keys) };
    let Some(folder) = all.find(home)? else { return Ok(keys) };
    folder.each(|name| keys.extend(key_of(name)))?;
    Ok(keys)
}

/// What an identity's list leads to.
#[derive(Default)]
pub(super) struct Listed {
    /// Its live records.
    pub live: Vec<(Key, Record)>,
    /// The keys that hold none of its records, not even an expired one.
    pub strays: Vec<(String, Key)>,
}

pub(super) fn list(root: &Folder, home: &str, now: Timestamp) -> Result<Listed> {
    let mut listed = Listed::default();
    for key in marked(root, home)? {
        match records::read_any(root, &key)? {
            Lookup::Found(record) if home_of(&record).as_deref() == Some(home) => {
                if record.expires_at > now {
                    listed.live.push((key, record));
                }
            }
            _ => listed.strays.push((home.to_owned(), key)),
        }
    }
    Ok(listed)
}

/// Removes the folders that are empty; gives what is listed although nothing is there.
pub(super) fn tidy(root: &Folder) -> Result<Vec<(String, Key)>> {
    let mut strays = Vec::new();
    let Some(all) = root.find(FOLDER)? else { return Ok(strays) };
    let mut homes = Vec::new();
    all.each(|home| homes.extend(key_of(home).map(|_| home.to_owned())))?;
    for home in homes {
        for key in marked(root, &home)? {
            // What cannot be read is there.
            if records::is_missing(root, &key).unwrap_or(false) {
                strays.push((home.clone(), key));
            }
        }
        all.remove_empty(&home);
    }
    Ok(strays)
}
