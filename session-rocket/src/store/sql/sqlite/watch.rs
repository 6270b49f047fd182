//! Whether a path still leads to the SQLite database that was opened.
//!
//! SQLite goes on writing to a file that was unlinked, and does not see that one was overwritten. Two calls of `stat`
//! tell, at about a microsecond each.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// What a file is, whatever it is called.
type FileId = (u64, u64);

/// When a file was last written, and how long it is.
pub(super) type Stamp = (Option<SystemTime>, u64);

/// The files of an open database.
pub(super) struct Watch {
    database: PathBuf,
    database_id: Option<FileId>,
    /// The write-ahead log: it stays where it is as long as a connection is open.
    log: PathBuf,
    log_id: Option<FileId>,
    /// The log's index, which SQLite maps into memory.
    #[cfg_attr(not(unix), expect(dead_code, reason = "an open file cannot be replaced there"))]
    index: PathBuf,
    stamp: Mutex<Option<Stamp>>,
}

/// What is at the path.
pub(super) enum Sight {
    Same,
    /// The file was written: by a checkpoint, or by somebody who is no database.
    Written(Stamp),
    /// Something else, or nothing.
    Other,
}

impl Watch {
    /// Remembers what is there now.
    pub(super) fn of(database: PathBuf) -> Self {
        // SQLite follows links before it names the log.
        let path = std::fs::canonicalize(&database).unwrap_or_else(|_| database.clone());
        let beside = |suffix| {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let (log, index) = (beside("-wal"), beside("-shm"));
        let log_id = stat(&log).map(|found| id(&found));
        let found = stat(&database);
        let database_id = found.as_ref().map(id);
        Self { database, database_id, log, log_id, index, stamp: Mutex::new(found.as_ref().map(stamp)) }
    }

    pub(super) fn look(&self) -> Sight {
        let log_is_gone = self.log_id.is_some() && self.log_id != stat(&self.log).as_ref().map(id);
        match stat(&self.database) {
            Some(found) if !log_is_gone && self.database_id == Some(id(&found)) => {
                let stamp = stamp(&found);
                let known = *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) == Some(stamp);
                if known { Sight::Same } else { Sight::Written(stamp) }
            }
            _ => Sight::Other,
        }
    }

    /// What was written has been looked at.
    pub(super) fn accept(&self, stamp: Stamp) {
        *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) = Some(stamp);
    }

    /// Removes the log of a database in whose place there is another now: SQLite would play it into that one. Only
    /// when all connections are closed. An open log keeps its inode, by which it is known.
    #[cfg(unix)]
    pub(super) fn remove_stray_log(&self) -> std::io::Result<()> {
        let is_stray = || {
            stat(&self.database).is_some_and(|found| Some(id(&found)) != self.database_id)
                && self.log_id.is_some()
                && self.log_id == stat(&self.log).as_ref().map(id)
        };
        if !is_stray() {
            return Ok(());
        }
        // Another process that does the same may have begun a new log. The lock ends with the handle.
        let directory = std::fs::File::open(self.log.parent().unwrap_or(Path::new("/")))?;
        directory.lock()?;
        if is_stray() {
            // The index first: without a log it would be taken for that of the next one.
            remove(&self.index)?;
            remove(&self.log)?;
        }
        Ok(())
    }

    /// An open file cannot be replaced there.
    #[cfg(not(unix))]
    pub(super) fn remove_stray_log(&self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn stat(path: &Path) -> Option<Metadata> {
    std::fs::metadata(path).ok()
}

fn stamp(file: &Metadata) -> Stamp {
    (file.modified().ok(), file.len())
}

#[cfg(unix)]
fn id(file: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (file.dev(), file.ino())
}

/// Without inodes, all that can be told is whether the file is there.
#[cfg(not(unix))]
fn id(_: &Metadata) -> FileId {
    (0, 0)
}
