//! A shard is one of the 256 folders of the session directory. It holds the files of the keys with the same first byte.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::handle::{self, is_foreign, open_file, open_folder};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{Key, random_bytes};
use crate::store::envelope;

/// The length of the first part of an entry, which contains the entry's expiry, in bytes.
const HEADER_LEN: u64 = 9;
/// The start of a temporary file's name, before 64 hexadecimal digits.
const TEMPORARY: &str = ".new-";

pub(super) fn shard_of(key: &Key) -> u8 {
    key.as_bytes()[0]
}

pub(super) struct Shard {
    path: PathBuf,
}

impl Shard {
    pub(super) fn new(root: &Path, number: u8) -> Self {
        Self { path: root.join(format!("{number:02x}")) }
    }

    /// Returns the content of a key's file, or `None` if the file does not exist.
    pub(super) fn read(&self, key: &Key) -> Result<Option<Bytes>> {
        let mut content = Vec::new();
        let read = open_file(&self.file(key)).and_then(|mut file| file.read_to_end(&mut content));
        let read = if_exists(read).map_err(failed_to("read a file"))?;
        Ok(read.map(|_| Bytes::from(content)))
    }

    pub(super) fn keys(&self) -> Result<Vec<Key>> {
        Ok(self.names()?.iter().filter_map(|name| Key::from_hex(name)).collect())
    }

    /// Returns the names of files that a sweep may remove: at most `limit` expired entries, and all temporary files.
    pub(super) fn stale_names(&self, limit: u64, now: Timestamp) -> Result<Vec<String>> {
        let (mut expired, mut unreadable) = (0, 0_u32);
        let mut names = self.names()?;
        names.retain(|name| {
            if Key::from_hex(name).is_none() || expired == limit {
                return is_temporary(name);
            }
            let expiry = self.expiry(name);
            let is_expired = matches!(expiry, Ok(Some(expires_at)) if expires_at <= now);
            expired += u64::from(is_expired);
            unreadable += u32::from(expiry.is_err());
            is_expired
        });
        if unreadable > 0 {
            let folder = self.path.file_name().unwrap_or_default().display();
            log::warn!(
                target: "session_rocket",
                "the sweep skipped {unreadable} unreadable files in the folder `{folder}` of the session directory: \
                 remove the files, or restore their content and owner"
            );
        }
        Ok(names)
    }

    /// Returns when an entry expires, or `None` if its file does not exist.
    fn expiry(&self, name: &str) -> Result<Option<Timestamp>> {
        let mut header = Vec::new();
        let read = open_file(&self.path.join(name)).and_then(|file| file.take(HEADER_LEN).read_to_end(&mut header));
        if if_exists(read).map_err(failed_to("read a file"))?.is_none() {
            return Ok(None);
        }
        let malformed = || Error::new(ErrorKind::Unavailable, "malformed file in the session directory");
        envelope::expiry(&header).map(Some).ok_or_else(malformed)
    }

    /// Whether the shard has a folder, which a launch creates.
    pub(super) fn exists(&self) -> Result<bool> {
        self.path.try_exists().map_err(failed_to("open a folder"))
    }

    fn names(&self) -> Result<Vec<String>> {
        let listed = open_folder(&self.path).and_then(|_| fs::read_dir(&self.path));
        let Some(entries) = if_exists(listed).map_err(failed_to("list a folder"))? else {
            return Ok(Vec::new());
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<io::Result<_>>().map_err(failed_to("list a folder"))
    }

    fn file(&self, key: &Key) -> PathBuf {
        self.path.join(key.to_hex())
    }
}

/// A shard whose lock this process holds. Only the holder changes files in the shard.
pub(super) struct LockedShard {
    shard: Shard,
    folder: File,
}

impl Deref for LockedShard {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl LockedShard {
    /// Takes the lock, unless another process holds it.
    pub(super) fn try_lock(root: &Path, number: u8) -> Result<Option<Self>> {
        let shard = Shard::new(root, number);
        if create_folder(&shard.path).map_err(failed_to("create a folder"))? {
            sync(root).map_err(failed_to("write a folder"))?;
        }
        let folder = open_folder(&shard.path).map_err(failed_to("open a folder"))?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(Self { shard, folder })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed_to("lock a folder")(error)),
        }
    }

    /// Replaces or creates a key's file. After a crash, the key has either the old file or the new file.
    pub(super) fn write(&self, key: &Key, content: &[u8]) -> Result<()> {
        let name = format!("{TEMPORARY}{}", Key::from_bytes(random_bytes()?).to_hex());
        let temporary = self.path.join(name);
        let written = write_file(&temporary, content).and_then(|()| fs::rename(&temporary, self.file(key)));
        if let Err(error) = written {
            // If the removal fails too, a sweep removes the file.
            let _ = fs::remove_file(&temporary);
            return Err(failed_to("write a file")(error));
        }
        self.sync()
    }

    pub(super) fn delete(&self, key: &Key) -> Result<()> {
        if self.remove(&key.to_hex())? { self.sync() } else { Ok(()) }
    }

    /// Removes the files of `names` that are still stale, and returns how many expired entries it removed.
    ///
    /// Does not sync the folder, because an entry that a power cut brings back is expired.
    pub(super) fn sweep(&self, names: &[String], now: Timestamp) -> Result<u64> {
        let mut removed = 0;
        for name in names {
            // A process writes a temporary file only while it holds the lock, so the process that wrote this file was
            // killed.
            let is_stale = is_temporary(name) || self.expiry(name)?.is_some_and(|expires_at| expires_at <= now);
            removed += u64::from(is_stale && self.remove(name)? && !is_temporary(name));
        }
        Ok(removed)
    }

    /// Removes a file, and returns whether it existed.
    fn remove(&self, name: &str) -> Result<bool> {
        let removed = if_exists(fs::remove_file(self.path.join(name))).map_err(failed_to("remove a file"))?;
        Ok(removed.is_some())
    }

    /// Syncs the names of created, renamed and removed files, so that they survive a power cut.
    fn sync(&self) -> Result<()> {
        self.folder.sync_all().map_err(failed_to("write a folder"))
    }
}

impl Drop for LockedShard {
    /// Releases the lock. Closing the folder is not enough, because a child process that was forked meanwhile also has
    /// the folder open, and would keep the lock.
    fn drop(&mut self) {
        // If this fails, closing the folder may still release the lock.
        let _ = self.folder.unlock();
    }
}

/// Creates the folders of all shards. Checks that they can be opened, and that one of them can be locked.
pub(super) fn create_all(root: &Path) -> Result<()> {
    for number in 0..=u8::MAX {
        let path = Shard::new(root, number).path;
        create_folder(&path).map_err(failed_to("create a folder"))?;
        open_folder(&path).map_err(failed_to("open a folder"))?;
    }
    // Another process may have been killed after it created a folder and before it synced the directory.
    sync(root).map_err(failed_to("write a folder"))?;
    LockedShard::try_lock(root, 0).map(drop)
}

/// Checks that files can be written to the directory.
pub(super) fn probe(root: &Path) -> Result<()> {
    let path = root.join(".probe");
    write_file(&path, b"probe").map_err(failed_to("write a file"))?;
    if_exists(fs::remove_file(&path)).map(drop).map_err(failed_to("remove a file"))
}

/// Creates a folder that only this user can access, if the folder is missing. Returns whether it was missing.
pub(super) fn create_folder(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Syncs the names in a folder, so that new files and folders survive a power cut.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Converts an error of the system. The message shows no path, because a path contains a key. The system's message shows
/// no path either.
fn failed_to(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| {
        if is_foreign(&error) {
            let context = "the session directory contains a file or folder of another user: empty the directory";
            return Error::with_source(ErrorKind::Unavailable, context, error);
        }
        let advice = if is_full(&error) { ": free space on its disk, or raise this user's quota" } else { "" };
        Error::with_source(ErrorKind::Unavailable, format!("cannot {what} in the session directory{advice}"), error)
    }
}

/// Returns `None` if the file or folder does not exist.
fn if_exists<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Writes a file that only this user can access, and waits until it is on the disk.
fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = handle::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn is_temporary(name: &str) -> bool {
    name.strip_prefix(TEMPORARY).and_then(Key::from_hex).is_some()
}

#[cfg(test)]
mod tests;
