//! Where the session directory is, and whether it is one to trust.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::fault::launch_kind;
use super::folder::{Folder, user};
use super::lock;
use crate::base::error::{Error, ErrorKind, Result};

/// The directory that a `file:` URL names, from the root on: the application may change its own directory.
pub(super) fn path_of(url: &str) -> Result<PathBuf> {
    let wrong = |why: &str| {
        let context = format!("the URL {why}: write `file:///var/lib/site/sessions`, or `file:sessions`");
        Error::new(ErrorKind::Config, context)
    };
    let (_, rest) = url.split_once(':').ok_or_else(|| wrong("has no scheme"))?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err(wrong("names no directory"));
    }
    if path.contains(['?', '#', '\0']) {
        return Err(wrong("contains a `?`, a `#` or a NUL"));
    }
    let path = std::path::absolute(path)
        .map_err(|e| Error::with_source(ErrorKind::Config, "the working directory is not known", e))?;
    // Behind a `/` at the end, a link would be followed.
    Ok(path.components().collect())
}

/// Creates the directory if it is missing and `creates` allows it, and checks that it can be used.
pub(super) fn prepare(path: &Path, creates: bool) -> Result<()> {
    if !creates {
        return inspect(path);
    }
    create(path)?;
    let root = examine(path).map_err(|why| Error::new(ErrorKind::Config, why))?;
    let unusable = |e| unusable(path, e);
    root.make(lock::FOLDER).map_err(unusable)?;
    let part = root.make_lasting("00").map_err(unusable)?;
    drop(part.write_new(b"probe").map_err(unusable)?);
    part.sync().map_err(unusable)?;
    // A process that was killed may have made a folder that is not on the disk yet.
    root.sync().map_err(unusable)?;
    // Whether it is free now does not matter.
    lock::Queue::default().pass(&root, 0).map(|_| ()).map_err(unusable)
}

/// The directory, if it is still one to trust: a link, or what others own or may change, is not.
pub(super) fn enter(path: &Path) -> Result<Folder> {
    examine(path).map_err(|why| Error::new(ErrorKind::Unavailable, why))
}

/// Checks that the directory exists and can be used, and leaves nothing in it.
fn inspect(path: &Path) -> Result<()> {
    if let Err(error) = path.symlink_metadata()
        && error.kind() == io::ErrorKind::NotFound
    {
        let context = format!(
            "the session directory `{}` is missing: create it with `session-rocket migrate`, or by launching the site",
            path.display()
        );
        return Err(Error::with_source(ErrorKind::Unavailable, context, error));
    }
    let root = examine(path).map_err(|why| Error::new(ErrorKind::Config, why))?;
    root.write_new(b"probe").map(drop).map_err(|e| unusable(path, e))
}

fn unusable(path: &Path, error: Error) -> Error {
    let shown = path.display();
    let context =
        format!("cannot write to `{shown}`: let this process write and lock there, or choose another directory");
    Error::with_source(launch_kind(&error), context, error)
}

fn create(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            // Where this may not be done, the directory outlasts a power cut a little later.
            let _ = path.parent().map(|parent| std::fs::File::open(parent).and_then(|parent| parent.sync_all()));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            let context = format!("cannot create `{}`: {}", path.display(), obstacle(path, &error));
            Err(Error::with_source(ErrorKind::Config, context, error))
        }
    }
}

/// Why a directory cannot be created, and what to do.
fn obstacle(path: &Path, error: &io::Error) -> String {
    let parent = path.parent().unwrap_or(path);
    let (shown, user) = (parent.display(), user());
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

/// The directory, or what is wrong with it and what to do.
fn examine(path: &Path) -> Result<Folder, String> {
    let shown = path.display();
    let folder = Folder::at(path).map_err(|error| match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => {
            format!("`{shown}` is a symbolic link, which is not followed: name the directory that it leads to")
        }
        Ok(found) if !found.is_dir() => {
            format!("`{shown}` is not a directory: move it away, or choose another directory")
        }
        _ => format!("the session directory `{shown}` cannot be opened: {error}"),
    })?;
    let found = folder.metadata().map_err(|error| format!("`{shown}` cannot be looked at: {error}"))?;
    let (owner, user, mode) = (found.uid(), user(), found.mode() & 0o7777);
    if owner != user {
        return Err(format!("`{shown}` belongs to user {owner}, not to user {user}: run `chown {user} {shown}`"));
    }
    if mode & 0o077 != 0 {
        return Err(format!("`{shown}` is open to other users (its mode is {mode:04o}): run `chmod 700 {shown}`"));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_directory() {
        let here = std::env::current_dir().unwrap();
        for (url, path) in [
            ("file:///var/lib/site/sessions", PathBuf::from("/var/lib/site/sessions")),
            ("file:/var/sessions/", PathBuf::from("/var/sessions")),
            ("FILE:///var/sessions/.", PathBuf::from("/var/sessions")),
            ("file:sessions", here.join("sessions")),
            ("file://sessions", here.join("sessions")),
            ("file:./a b%20c/", here.join("a b%20c")),
        ] {
            assert_eq!(path_of(url).unwrap(), path, "{url}");
        }
        for url in ["file:", "file://", "file:x?mode=rw", "file:x#y", "file:x\0"] {
            assert_eq!(path_of(url).unwrap_err().kind(), ErrorKind::Config, "{url}");
        }
    }
}
