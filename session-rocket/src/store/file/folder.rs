//! A folder, held open: what is done in it is done there, wherever its path leads meanwhile.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::fault::{cannot, foreign};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{Key, random_bytes};

/// The expiry is in the first bytes of what is kept for a key.
const HEADER: u64 = 9;
/// What a file is called while it is written: this, and 64 hexadecimal digits.
const TEMPORARY: &str = ".new-";
/// No write takes so long: what was left then, a process left that was killed.
const LEFT_OVER: Duration = Duration::from_secs(3600);
/// So often is made anew what others remove as soon as it is there.
const TRIES: usize = 100;

const READ_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Not waiting for somebody at the other end, if it is a pipe.
const READ_FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const MAKE_FILE: OFlags =
    OFlags::RDWR.union(OFlags::CREATE).union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const OURS_ALONE: Mode = Mode::RUSR.union(Mode::WUSR);

pub(super) struct Folder(File);

/// A file that is removed unless it is renamed.
pub(super) struct Temporary<'a> {
    folder: &'a Folder,
    name: String,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // After a rename there is nothing; what cannot be removed is left to the sweep.
        let _ = unlinkat(&self.folder.0, &self.name, AtFlags::empty());
    }
}

impl Folder {
    /// The folder at a path that does not end in a link.
    pub(super) fn at(path: &Path) -> rustix::io::Result<Self> {
        openat(CWD, path, READ_FOLDER, Mode::empty()).map(|fd| Self(fd.into()))
    }

    /// Whose it is and who may enter it.
    pub(super) fn metadata(&self) -> std::io::Result<std::fs::Metadata> {
        self.0.metadata()
    }

    /// The folder of this name, if there is one.
    pub(super) fn find(&self, name: &str) -> Result<Option<Self>> {
        match openat(&self.0, name, READ_FOLDER, Mode::empty()) {
            Ok(fd) => Ok(Some(Self(fd.into()))),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(foreign()),
            Err(error) => Err(cannot("open a folder")(error)),
        }
    }

    /// The folder of this name, made where it is missing. That it outlasts a power cut, `sync` sees to.
    pub(super) fn make(&self, name: &str) -> Result<Self> {
        for _ in 0..TRIES {
            if let Some(folder) = self.find(name)? {
                return Ok(folder);
            }
            match mkdirat(&self.0, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(cannot("make a folder")(error)),
            }
        }
        Err(vanishes())
    }

    /// The folder of this name; where it is missing, made, through to the disk.
    pub(super) fn make_lasting(&self, name: &str) -> Result<Self> {
        if let Some(folder) = self.find(name)? {
            return Ok(folder);
        }
        let folder = self.make(name)?;
        self.sync()?;
        Ok(folder)
    }

    /// Removes the folder of this name, if it is empty.
    pub(super) fn remove_empty(&self, name: &str) {
        // Whether it could be is seen the next time.
        let _ = unlinkat(&self.0, name, AtFlags::REMOVEDIR);
    }

    /// A file of ours, if there is one.
    pub(super) fn open(&self, name: &str) -> Result<Option<File>> {
        match openat(&self.0, name, READ_FILE, Mode::empty()) {
            Ok(fd) => ours(fd.into()).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(foreign()),
            Err(error) => Err(cannot("open a file")(error)),
        }
    }

    /// A file of ours to lock or to mark something with, made empty where it is missing.
    pub(super) fn open_or_make(&self, name: &str) -> Result<Option<File>> {
        match openat(&self.0, name, MAKE_FILE, OURS_ALONE) {
            Ok(fd) => ours(fd.into()).map(Some),
            // The folder was removed since it was opened.
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(foreign()),
            Err(error) => Err(cannot("make a file")(error)),
        }
    }

    /// All that a file holds, if there is one.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(mut file) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(cannot("read a file"))?;
        Ok(Some(bytes))
    }

    /// The kind and the expiry that a file begins with, as far as it goes; if there is one.
    pub(super) fn read_header(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(HEADER).read_to_end(&mut bytes).map_err(cannot("read a file"))?;
        Ok(Some(bytes))
    }

    /// Puts a file there, in the place of the one before: whatever happens meanwhile, one of them is there, whole.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = self.write_new(bytes)?;
        renameat(&self.0, &temporary.name, &self.0, name).map_err(cannot("rename a file"))?;
        self.sync()
    }

    /// Writes to a file that nobody else knows, through to the disk.
    pub(super) fn write_new(&self, bytes: &[u8]) -> Result<Temporary<'_>> {
        let name = format!("{TEMPORARY}{}", Key::from_bytes(random_bytes()?).to_hex());
        let fd = openat(&self.0, &name, MAKE_FILE | OFlags::EXCL, OURS_ALONE).map_err(cannot("make a file"))?;
        let temporary = Temporary { folder: self, name };
        let mut file = File::from(fd);
        std::io::Write::write_all(&mut file, bytes).map_err(cannot("write a file"))?;
        file.sync_all().map_err(cannot("write a file"))?;
        Ok(temporary)
    }

    /// Removes a file, or what is in its place; says whether it was there.
    pub(super) fn remove(&self, name: &str) -> Result<bool> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(cannot("remove a file")(error)),
        }
    }

    /// Removes what a process that was killed left half written.
    pub(super) fn remove_left_over(&self, name: &str) {
        let is_temporary = name.strip_prefix(TEMPORARY).is_some_and(|rest| key_of(rest).is_some());
        let modified = || self.open(name).ok()??.metadata().ok()?.modified().ok();
        let is_old = |at| SystemTime::now().duration_since(at).is_ok_and(|age| age > LEFT_OVER);
        if is_temporary && modified().is_some_and(is_old) {
            // Whether it could be is seen the next time.
            let _ = self.remove(name);
        }
    }

    /// Shows the name of each file and folder in it.
    pub(super) fn each(&self, mut show: impl FnMut(&str)) -> Result<()> {
        for entry in Dir::read_from(&self.0).map_err(cannot("list a folder"))? {
            let entry = entry.map_err(cannot("list a folder"))?;
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                show(name);
            }
        }
        Ok(())
    }

    /// Sees to it that what was made, renamed or removed in it outlasts a power cut.
    pub(super) fn sync(&self) -> Result<()> {
        self.0.sync_all().map_err(cannot("write a folder"))
    }
}

/// The user that this process acts as.
pub(super) fn user() -> u32 {
    geteuid().as_raw()
}

/// The key that a file's name tells.
pub(super) fn key_of(name: &str) -> Option<Key> {
    let mut bytes = [0; 32];
    for (number, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(name.get(2 * number..2 * number + 2)?, 16).ok()?;
    }
    let key = Key::from_bytes(bytes);
    (key.to_hex() == name).then_some(key)
}

/// What vanishes while it is used, and not by this store's doing.
pub(super) fn vanishes() -> Error {
    Error::new(ErrorKind::Unavailable, "what is made in the session directory is removed at once by somebody")
}

fn ours(file: File) -> Result<File> {
    let metadata = file.metadata().map_err(cannot("look at a file"))?;
    if metadata.is_file() && metadata.uid() == user() { Ok(file) } else { Err(foreign()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_a_key_or_of_none() {
        let key = Key::from_bytes([0xAF; 32]);
        assert_eq!(key_of(&key.to_hex()), Some(key));
        let upper = key.to_hex().to_uppercase();
        let signed = format!("+1{}", &key.to_hex()[2..]);
        let longer = format!("{}00", key.to_hex());
        for none in ["", "af", "..", &"é".repeat(32), &upper, &signed, &longer, &longer[..62]] {
            assert_eq!(key_of(none), None, "{none}");
        }
    }
}
