//! Whether a path still leads to the SQLite database that was opened.
//!
//! SQLite continues to write to a file that was removed or replaced. Two calls of `stat` find out, at about a microsecond
//! each.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::error::{Error, ErrorKind, Result};

/// The identity of a file, whatever its name.
type FileId = (u64, u64);

/// The files of an open database.
pub(super) struct DatabaseFile {
    path: PathBuf,
    id: Option<FileId>,
    /// The write-ahead log. SQLite keeps it as long as a connection is open.
    log: PathBuf,
    log_id: Option<FileId>,
    /// Set for good, because connections that were opened meanwhile may lead to another file.
    is_lost: AtomicBool,
}

impl DatabaseFile {
    /// Remembers the files that exist now.
    ///
    /// # Errors
    /// When the file system does not tell which files exist.
    pub(super) fn new(path: PathBuf) -> Result<Self> {
        // SQLite follows links before it names the log.
        let mut log = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone()).into_os_string();
        log.push("-wal");
        let log = PathBuf::from(log);
        let unknown = |e| Error::with_source(ErrorKind::Unavailable, "cannot check the SQLite file", e);
        let (id, log_id) = (id(&path).map_err(unknown)?, id(&log).map_err(unknown)?);
        Ok(Self { path, id, log, log_id, is_lost: AtomicBool::new(false) })
    }

    /// Fails if the path leads to another file than the open one, now or at an earlier call. The first such call logs what
    /// to do. Any other error of the file system fails this call only.
    pub(super) fn check(&self, verb: &str) -> Result<()> {
        if !self.is_lost.load(Ordering::SeqCst) {
            let unknown = |e| {
                let context = format!("cannot {verb} a session: cannot check the SQLite file");
                Error::with_source(ErrorKind::Unavailable, context, e)
            };
            if self.is_in_place().map_err(unknown)? {
                return Ok(());
            }
            if !self.is_lost.swap(true, Ordering::SeqCst) {
                log::error!(
                    target: "session_rocket",
                    "the SQLite file `{}` or its `-wal` was moved, removed or replaced while the site runs: stop the site, \
                     put a database in place without the `-wal` and `-shm` of another one, and restart the site",
                    self.path.display(),
                );
            }
        }
        let context =
            format!("cannot {verb} a session: the SQLite file was moved, removed or replaced: restart the site");
        Err(Error::new(ErrorKind::Unavailable, context))
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(self.id == id(&self.path)? && (self.log_id.is_none() || self.log_id == id(&self.log)?))
    }
}

/// The identity of the file at a path. `None` if the file or a directory of the path does not exist.
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

/// Elsewhere, an open file cannot be replaced, and files have no inode: only whether the file exists is known.
#[cfg(not(unix))]
fn file_id(_: &Metadata) -> FileId {
    (0, 0)
}
