//! Detects that the file of an open SQLite database was moved, removed or replaced.
//!
//! Without this check, SQLite would continue to write to the open file, and the data would be lost. The check costs two
//! `stat` calls of about a microsecond each.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::error::{Error, ErrorKind, Result};

/// Identifies a file independently of its path: device and inode.
type FileId = (u64, u64);

/// The files of an open database.
pub(super) struct DatabaseFile {
    path: PathBuf,
    id: Option<FileId>,
    /// The write-ahead log. SQLite keeps it as long as a connection is open.
    log: PathBuf,
    log_id: Option<FileId>,
    /// Whether a check has failed. Never reset, because connections that were opened after the failure may use another
    /// file.
    is_lost: AtomicBool,
}

impl DatabaseFile {
    /// Records which files exist now. Fails if the file system cannot be read.
    pub(super) fn new(path: PathBuf) -> Result<Self> {
        // SQLite follows symbolic links before it derives the log's path from the path of the file.
        let mut log = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone()).into_os_string();
        log.push("-wal");
        let log = PathBuf::from(log);
        let unknown =
            |e| Error::with_source(ErrorKind::Unavailable, "cannot check whether the SQLite file was replaced", e);
        let (id, log_id) = (id(&path).map_err(unknown)?, id(&log).map_err(unknown)?);
        Ok(Self { path, id, log, log_id, is_lost: AtomicBool::new(false) })
    }

    /// Checks that the path still leads to the open file. Logs the first failure. After a failure, every check fails.
    /// An error of the file system fails only this call.
    pub(super) fn check(&self, verb: &str) -> Result<()> {
        if !self.is_lost.load(Ordering::SeqCst) {
            let unknown = |e| {
                let context = format!("cannot {verb} a session: cannot check whether the SQLite file was replaced");
                Error::with_source(ErrorKind::Unavailable, context, e)
            };
            if self.is_in_place().map_err(unknown)? {
                return Ok(());
            }
            if !self.is_lost.swap(true, Ordering::SeqCst) {
                log::error!(
                    target: "session_rocket",
                    "the SQLite file `{}` or its `-wal` file was moved, removed or replaced while the site was running: stop \
                     the site, put the database back, remove `-wal` and `-shm` files that do not belong to it, and \
                     restart the site",
                    self.path.display(),
                );
            }
        }
        let context = format!(
            "cannot {verb} a session: restart the site, because its SQLite file was moved, removed or replaced"
        );
        Err(Error::new(ErrorKind::Unavailable, context))
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(self.id == id(&self.path)? && (self.log_id.is_none() || self.log_id == id(&self.log)?))
    }
}

/// Identifies the file at a path. Returns `None` if the file or a directory of the path does not exist.
fn id(path: &Path) -> io::Result<Option<FileId>> {
    match std::fs::metadata(path) {
        Ok(file) => Ok(Some(file_id(&file))),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(unix)]
fn file_id(file: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (file.dev(), file.ino())
}

/// On other systems, an open file cannot be replaced, and files have no inode. So this id shows only that the file
/// exists.
#[cfg(not(unix))]
fn file_id(_: &Metadata) -> FileId {
    (0, 0)
}
