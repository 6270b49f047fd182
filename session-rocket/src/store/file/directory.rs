//! Where the session directory is, and whether it can be trusted.

use std::error::Error as _;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::{handle, shard};
use crate::base::error::{Error, ErrorKind, Result};

/// What to do after the owner or mode of the directory was wrong.
const EMPTY: &str = "empty the directory, because other users may have changed the sessions in it";

/// The absolute path of the directory that a `file:` URL names. It is absolute because the application may change its
/// working directory later.
pub(super) fn path_of(url: &str) -> Result<PathBuf> {
    let invalid = |why: &str| {
        let context = format!("the URL {why}: write `file:///var/lib/site/sessions`, or `file:sessions`");
        Error::new(ErrorKind::Config, context)
    };
    let (_, rest) = url.split_once(':').ok_or_else(|| invalid("has no scheme"))?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err(invalid("names no directory"));
    }
    if path.contains(['?', '#', '\0']) {
        return Err(invalid("contains a `?`, a `#` or a NUL"));
    }
    let path = std::path::absolute(path)
        .map_err(|e| Error::with_source(ErrorKind::Config, "cannot determine the working directory", e))?;
    // Collecting the components drops a `/` at the end, after which a link would be followed.
    Ok(path.components().collect())
}

/// Creates what is missing if `creates` allows it, and checks that the directory can be used.
pub(super) fn prepare(path: &Path, creates: bool) -> Result<()> {
    if creates { create(path) } else { require(path) }?;
    examine(path).map_err(|why| Error::new(ErrorKind::Config, why))?;
    let folders = if creates { shard::create_all(path) } else { Ok(()) };
    folders.and_then(|()| shard::probe(path)).map_err(|error| unusable(path, error))
}

/// Checks that the directory is still there and can still be trusted.
pub(super) fn check(path: &Path) -> Result<()> {
    examine(path).map_err(|why| Error::new(ErrorKind::Unavailable, why))
}

/// Checks that the directory exists.
fn require(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let context = format!(
                "the session directory `{}` is missing: create it with `session-rocket migrate`, or by launching the site",
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
    let context =
        format!("cannot write to `{shown}`: let this process write and lock there, or choose another directory");
    // Another configuration does not make room on the disk, but waiting may.
    let kind = if cause.is_some_and(shard::is_full) { ErrorKind::Unavailable } else { ErrorKind::Config };
    Error::with_source(kind, context, error)
}

fn create(path: &Path) -> Result<()> {
    let created = shard::create_folder(path).map_err(|error| {
        let context = format!("cannot create `{}`: {}", path.display(), obstacle(path, &error));
        Error::with_source(ErrorKind::Config, context, error)
    })?;
    if created {
        // If this process may not open the parent, the directory is on the disk a little later.
        let _ = path.parent().map(shard::sync);
    }
    Ok(())
}

/// Why the directory cannot be created, and what to do.
fn obstacle(path: &Path, error: &io::Error) -> String {
    let parent = path.parent().unwrap_or(path);
    let (shown, user) = (parent.display(), geteuid().as_raw());
    match error.kind() {
        io::ErrorKind::NotFound if parent.is_dir() => {
            // `/proc` and the like.
            format!("the file system of `{shown}` does not allow new directories: choose another directory")
        }
        io::ErrorKind::NotFound => {
            format!("`{shown}` is missing: run `mkdir -p {shown}`, or choose another directory")
        }
        io::ErrorKind::NotADirectory => format!("`{shown}` is not a directory: choose another directory"),
        io::ErrorKind::PermissionDenied => {
            format!("user {user} may not write to `{shown}`: create the directory for that user, or choose another one")
        }
        _ => format!("create it for user {user}, or choose another directory"),
    }
}

/// Checks the directory's kind, owner and mode. The error says what is wrong and what to do.
fn examine(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = path
        .symlink_metadata()
        .map_err(|error| format!("the session directory `{shown}` cannot be opened: {error}"))?;
    if metadata.is_symlink() {
        return Err(format!("`{shown}` is a symbolic link, which is not followed: name the directory it leads to"));
    }
    if !metadata.is_dir() {
        return Err(format!("`{shown}` is not a directory: move it away, or choose another directory"));
    }
    let (owner, user, mode) = (metadata.uid(), geteuid().as_raw(), metadata.mode() & 0o7777);
    if owner != user {
        return Err(format!(
            "`{shown}` belongs to user {owner}, not to user {user}: run `chown {user} {shown}`, and {EMPTY}"
        ));
    }
    if mode & 0o077 != 0 {
        return Err(format!(
            "`{shown}` is open to other users (its mode is {mode:04o}): run `chmod 700 {shown}`, and {EMPTY}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
