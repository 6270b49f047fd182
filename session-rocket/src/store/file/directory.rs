//! Finds, creates and checks the session directory.

use std::error::Error as _;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::{handle, shard};
use crate::base::error::{Error, ErrorKind, Result};

/// The advice if the owner or mode of the directory is wrong.
const EMPTY_IT: &str = "empty the directory, because other users may have changed the sessions in it";

/// Returns the path of the directory that a `file:` URL names. The path is absolute, because the application may change
/// its working directory.
pub(super) fn path_of(url: &str) -> Result<PathBuf> {
    let invalid = |why: &str| {
        let context = format!("the URL {why}: write `file:///var/lib/site/sessions`, or `file:sessions`");
        Error::new(ErrorKind::Config, context)
    };
    let (_, rest) = url.split_once(':').ok_or_else(|| invalid("has no scheme"))?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err(invalid("contains no directory"));
    }
    if path.contains(['?', '#', '\0']) {
        return Err(invalid("contains a `?`, a `#` or a NUL"));
    }
    let path = std::path::absolute(path)
        .map_err(|e| Error::with_source(ErrorKind::Config, "cannot determine the working directory", e))?;
    // Collecting the components removes a final `/`, with which the system would follow a symbolic link.
    Ok(path.components().collect())
}

/// Creates missing folders if `create_if_missing` is `true`, and checks that the directory can be used.
pub(super) fn prepare(path: &Path, create_if_missing: bool) -> Result<()> {
    if create_if_missing { create(path) } else { check_exists(path) }?;
    check_metadata(path).map_err(|why| Error::new(ErrorKind::Config, why))?;
    let folders = if create_if_missing { shard::create_all(path) } else { Ok(()) };
    folders.and_then(|()| shard::probe(path)).map_err(|error| unusable(path, error))
}

/// Checks that the directory still exists, and still has the right owner and mode.
pub(super) fn check(path: &Path) -> Result<()> {
    check_metadata(path).map_err(|why| Error::new(ErrorKind::Unavailable, why))
}

fn check_exists(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let context = format!(
                "the session directory `{}` is missing: run `session-rocket migrate`, or launch the site",
                path.display()
            );
            Err(Error::with_source(ErrorKind::Unavailable, context, error))
        }
        _ => Ok(()),
    }
}

fn unusable(path: &Path, error: Error) -> Error {
    let shown = path.display();
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    if cause.is_some_and(handle::is_foreign) {
        let context = format!(
            "`{shown}` contains a file or folder of another user: empty the directory, or choose another directory"
        );
        return Error::with_source(ErrorKind::Config, context, error);
    }
    let context = format!(
        "cannot write to `{shown}`: allow this process to write and lock files there, or choose another directory"
    );
    // A full disk is not a mistake in the configuration.
    let kind = if cause.is_some_and(shard::is_full) { ErrorKind::Unavailable } else { ErrorKind::Config };
    Error::with_source(kind, context, error)
}

fn create(path: &Path) -> Result<()> {
    let created = shard::create_folder(path).map_err(|error| {
        let context = format!("cannot create `{}`: {}", path.display(), obstacle(path, &error));
        Error::with_source(ErrorKind::Config, context, error)
    })?;
    if created {
        // The sync fails if this process may not open the parent. The system then writes the parent to the disk later.
        let _ = path.parent().map(shard::sync);
    }
    Ok(())
}

/// Says why the directory cannot be created, and what to do.
fn obstacle(path: &Path, error: &io::Error) -> String {
    let parent = path.parent().unwrap_or(path);
    let (shown, user) = (parent.display(), geteuid().as_raw());
    match error.kind() {
        io::ErrorKind::NotFound if parent.is_dir() => {
            // For example in `/proc`.
            format!("the file system of `{shown}` does not allow new directories: choose another directory")
        }
        io::ErrorKind::NotFound => {
            format!("`{shown}` is missing: run `mkdir -p {shown}`, or choose another directory")
        }
        io::ErrorKind::NotADirectory => format!("`{shown}` is not a directory: choose another directory"),
        io::ErrorKind::PermissionDenied => {
            format!(
                "user {user} may not write to `{shown}`: create the directory for that user, or choose another directory"
            )
        }
        _ => format!("create it for user {user}, or choose another directory"),
    }
}

/// Checks the directory's kind, owner and mode. The error says what to do.
fn check_metadata(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = path.symlink_metadata().map_err(|error| {
        format!("the session directory `{shown}` cannot be opened: {error}: restore it, and restart the site")
    })?;
    if metadata.is_symlink() {
        return Err(format!(
            "`{shown}` is a symbolic link, which is not followed: use the path of the directory that it leads to"
        ));
    }
    if !metadata.is_dir() {
        return Err(format!("`{shown}` is not a directory: move it away, or choose another directory"));
    }
    let (owner, user, mode) = (metadata.uid(), geteuid().as_raw(), metadata.mode() & 0o7777);
    if owner != user {
        return Err(format!(
            "`{shown}` belongs to user {owner}, not to user {user}: run `chown {user} {shown}`, and {EMPTY_IT}"
        ));
    }
    if mode & 0o077 != 0 {
        return Err(format!(
            "`{shown}` is open to other users (its mode is {mode:04o}): run `chmod 700 {shown}`, and {EMPTY_IT}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
