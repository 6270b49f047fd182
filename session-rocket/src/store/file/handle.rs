//! Opens files and folders of the session directory, and checks their owner.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

/// Without `NONBLOCK`, opening a named pipe would wait until another process opens the pipe.
const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK);

/// The cause of an error: the file or folder belongs to another user.
#[derive(Debug)]
struct ForeignOwner;

impl std::fmt::Display for ForeignOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the owner is another user")
    }
}

impl std::error::Error for ForeignOwner {}

pub(super) fn is_foreign(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<ForeignOwner>)
}

/// Returns options that do not follow a symbolic link in the last part of the path.
pub(super) fn options() -> OpenOptions {
    with_flags(FLAGS)
}

/// Opens a regular file of this user for reading.
///
/// # Errors
/// Fails if the path leads to anything else, such as a symbolic link. [`is_foreign`] recognizes another user's file.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let file = options().read(true).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    check_owner(metadata.uid())?;
    Ok(file)
}

/// Opens a folder of this user, to lock or list it.
///
/// # Errors
/// Fails if the path leads to anything else, such as a symbolic link. [`is_foreign`] recognizes another user's folder.
pub(super) fn open_folder(path: &Path) -> io::Result<File> {
    let folder = with_flags(FLAGS.union(OFlags::DIRECTORY)).read(true).open(path)?;
    check_owner(folder.metadata()?.uid())?;
    Ok(folder)
}

fn with_flags(flags: OFlags) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(flags.bits().cast_signed());
    options
}

fn check_owner(owner: u32) -> io::Result<()> {
    if owner == geteuid().as_raw() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, ForeignOwner))
    }
}
