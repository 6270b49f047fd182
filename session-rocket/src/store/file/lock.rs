//! Locks between processes: each guards the keys that begin with one byte.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;

use super::fault::cannot;
use super::folder::Folder;
use crate::base::error::Result;

pub(super) const FOLDER: &str = "locks";

/// A lock that is held. It is gone with the process at the latest.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file does it too, but for a child that was forked meanwhile and holds the same one.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// The lock of this name, if nobody has it.
    fn try_take(root: &Folder, name: &str) -> Result<Option<Self>> {
        let folder = root.make(FOLDER)?;
        let Some(file) = folder.open_or_make(name)? else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(cannot("lock a file")(error)),
        }
        let lock = Self(file);
        // Somebody may have removed it meanwhile, and others lock another.
        Ok(lock.is_at(&folder, name)?.then_some(lock))
    }

    fn is_at(&self, folder: &Folder, name: &str) -> Result<bool> {
        let id =
            |file: &File| file.metadata().map(|found| (found.dev(), found.ino())).map_err(cannot("look at a lock"));
        folder.open(name)?.map_or(Ok(false), |there| Ok(id(&there)? == id(&self.0)?))
    }
}

/// The way to a lock: first one is the next, then has it. Whoever gives a lock back and wants it again comes behind
/// the one who is the next; else a busy process would keep it from all others.
#[derive(Default)]
pub(super) struct Queue {
    next: Option<Lock>,
}

impl Queue {
    /// The lock of the keys that begin with `part`, once it is free and this process is the next.
    pub(super) fn pass(&mut self, root: &Folder, part: u8) -> Result<Option<Lock>> {
        if self.next.is_none() {
            self.next = Lock::try_take(root, &format!("{part:02x}.next"))?;
        }
        if self.next.is_none() {
            return Ok(None);
        }
        let lock = Lock::try_take(root, &format!("{part:02x}"))?;
        if lock.is_some() {
            self.next = None;
        }
        Ok(lock)
    }
}
