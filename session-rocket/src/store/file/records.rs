//! What is done to a record while its lock is held.

use std::path::Path;
use std::sync::Arc;

use super::folder::Folder;
use super::lock::{Lock, Queue};
use super::{index, place};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Touch, Update, envelope};

/// Before all that expires.
const EVER: Timestamp = Timestamp::from_millis(i64::MIN);

/// The name of the folder of a part: the keys that begin with one byte.
pub(super) fn part_name(part: u8) -> String {
    format!("{part:02x}")
}

pub(super) fn part_of(key: &Key) -> u8 {
    key.as_bytes()[0]
}

/// What a key holds at `now`.
pub(super) fn read(root: &Folder, key: &Key, now: Timestamp) -> Result<Lookup> {
    let Some(folder) = root.find(&part_name(part_of(key)))? else { return Ok(Lookup::Absent) };
    folder.read(&key.to_hex())?.map_or(Ok(Lookup::Absent), |bytes| envelope::open(bytes.into(), now))
}

/// What a key holds, whether expired or not.
pub(super) fn read_any(root: &Folder, key: &Key) -> Result<Lookup> {
    read(root, key, EVER)
}

pub(super) fn is_missing(root: &Folder, key: &Key) -> Result<bool> {
    let Some(folder) = root.find(&part_name(part_of(key)))? else { return Ok(true) };
    Ok(folder.open(&key.to_hex())?.is_none())
}

/// When what a file of a part holds expires, by its header alone; if the file is there.
pub(super) fn read_expiry(folder: &Folder, key: &Key) -> Result<Option<Timestamp>> {
    let Some(header) = folder.read_header(&key.to_hex())? else { return Ok(None) };
    match envelope::expiry(&header) {
        Some(expires_at) => Ok(Some(expires_at)),
        None => Err(Error::new(ErrorKind::Unavailable, "a file of the session directory holds no session")),
    }
}

/// One part of what is kept, locked.
pub(super) struct Held {
    root: Folder,
    clock: Arc<dyn Clock>,
    _lock: Lock,
}

impl Held {
    /// Locks a part, if it is its turn. The directory is looked up anew each time: who waited long finds what is
    /// there now.
    pub(super) fn try_take(path: &Path, part: u8, queue: &mut Queue, clock: &Arc<dyn Clock>) -> Result<Option<Self>> {
        let root = place::enter(path)?;
        let lock = queue.pass(&root, part)?;
        Ok(lock.map(|lock| Self { root, clock: clock.clone(), _lock: lock }))
    }

    pub(super) fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        if self.read(key)? != Lookup::Absent {
            return Ok(Create::Taken);
        }
        let expired = read_any(&self.root, key)?;
        let before = if let Lookup::Found(record) = &expired { Some(record) } else { None };
        self.write(key, record, before)?;
        Ok(Create::Created)
    }

    pub(super) fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        match self.read(key)? {
            Lookup::Found(found) if found.version == expected => {
                self.write(key, record, Some(&found))?;
                Ok(Update::Updated)
            }
            Lookup::Found(fresh) => Ok(Update::Conflict(fresh)),
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Ok(Update::Moved(to)),
            Lookup::Tombstone(_) | Lookup::Absent => Ok(Update::Gone),
        }
    }

    pub(super) fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        match self.read(key)? {
            Lookup::Found(mut found) if found.version == expected => {
                if found.expires_at < expires_at {
                    found.expires_at = expires_at;
                    self.put(key, &envelope::seal_record(&found)?)?;
                }
                Ok(Touch::Touched)
            }
            Lookup::Found(_) => Ok(Touch::Conflict),
            Lookup::Tombstone(_) | Lookup::Absent => Ok(Touch::Gone),
        }
    }

    pub(super) fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        match self.read(key)? {
            Lookup::Found(fresh) if expected.is_some_and(|expected| expected != fresh.version) => {
                Ok(Retire::Conflict(fresh))
            }
            Lookup::Found(found) => {
                self.put(key, &envelope::seal_tombstone(tombstone))?;
                self.unlist(key, index::home_of(&found));
                Ok(Retire::Retired)
            }
            Lookup::Tombstone(_) | Lookup::Absent => Ok(Retire::Gone),
        }
    }

    /// Ends the record if it is live and belongs to an identity still; says whether it did.
    pub(super) fn retire_of(&self, home: &str, key: &Key, until: Timestamp) -> Result<bool> {
        match self.read(key)? {
            Lookup::Found(found) if index::home_of(&found).as_deref() == Some(home) => {
                let tombstone = Tombstone { fate: Fate::Ended, expires_at: until };
                self.retire(key, Some(found.version), tombstone).map(|done| done == Retire::Retired)
            }
            _ => Ok(false),
        }
    }

    pub(super) fn delete(&self, key: &Key) -> Result<()> {
        let Some(folder) = self.root.find(&part_name(part_of(key)))? else { return Ok(()) };
        // What cannot be read is removed too; a list it is on is put right later.
        let before = read_any(&self.root, key);
        if folder.remove(&key.to_hex())? {
            folder.sync()?;
        }
        if let Ok(Lookup::Found(record)) = before {
            self.unlist(key, index::home_of(&record));
        }
        Ok(())
    }

    /// Removes those of `keys`, all of this part, that have expired; says how many. One that comes back after a power
    /// cut has expired still.
    pub(super) fn remove_expired(&self, keys: &[Key]) -> Result<u64> {
        let mut removed = 0;
        for key in keys {
            let Some(folder) = self.root.find(&part_name(part_of(key)))? else { return Ok(removed) };
            if read_expiry(&folder, key)?.is_none_or(|expires_at| expires_at > self.clock.now()) {
                continue;
            }
            let before = read_any(&self.root, key);
            removed += u64::from(folder.remove(&key.to_hex())?);
            if let Ok(Lookup::Found(record)) = before {
                self.unlist(key, index::home_of(&record));
            }
        }
        Ok(removed)
    }

    /// Takes a key off an identity's list, unless its record belongs there. An expired one does until it is removed:
    /// not all clocks need show the same time.
    pub(super) fn unlist_stray(&self, home: &str, key: &Key) -> Result<()> {
        match read_any(&self.root, key)? {
            Lookup::Found(record) if index::home_of(&record).as_deref() == Some(home) => Ok(()),
            _ => index::unmark(&self.root, home, key),
        }
    }

    fn read(&self, key: &Key) -> Result<Lookup> {
        read(&self.root, key, self.clock.now())
    }

    fn write(&self, key: &Key, record: &Record, before: Option<&Record>) -> Result<()> {
        let sealed = envelope::seal_record(record)?;
        let (old, new) = (before.and_then(index::home_of), index::home_of(record));
        if let Some(home) = &new {
            index::mark(&self.root, home, key, old == new)?;
        }
        self.put(key, &sealed)?;
        if old != new {
            self.unlist(key, old);
        }
        Ok(())
    }

    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        self.root.make_lasting(&part_name(part_of(key)))?.put(&key.to_hex(), bytes)
    }

    /// The call has happened whether this does or not: who reads the list next sees that the record is not of it.
    fn unlist(&self, key: &Key, home: Option<String>) {
        let _ = home.map(|home| index::unmark(&self.root, &home, key));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::DirBuilderExt;
    use std::path::PathBuf;

    use super::*;
    use crate::base::clock::ManualClock;
    use crate::base::id::random_bytes;

    const KEY: Key = Key::from_bytes([7; 32]);

    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let name = format!("session-rocket-{}", Key::from_bytes(random_bytes().unwrap()).to_hex());
            let path = std::env::temp_dir().join(name);
            fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// Between the look at a list and the lock, the record that was missing may be made.
    #[test]
    fn a_key_leaves_a_list_only_if_its_record_is_not_of_it() {
        let directory = Directory::new();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        let take = || Held::try_take(&directory.0, part_of(&KEY), &mut Queue::default(), &clock).unwrap();
        let held = take().unwrap();
        assert!(take().is_none(), "two have one lock");
        let theirs = Record::new(Version::from_bits(1), Timestamp::from_millis(i64::MAX))
            .with_scope("s")
            .with_payload("x")
            .with_times(clock.now(), clock.now());
        let theirs = theirs.with_identity("ada");
        let home = index::home("s", "ada");
        let listed = || index::marked(&held.root, &home).unwrap();
        held.create(&KEY, &theirs).unwrap();
        held.unlist_stray(&home, &KEY).unwrap();
        assert_eq!(listed(), [KEY]);
        let mut expired = theirs.clone();
        expired.expires_at = clock.now();
        held.update(&KEY, theirs.version, &expired).unwrap();
        held.unlist_stray(&home, &KEY).unwrap();
        assert_eq!(listed(), [KEY], "to another process it may live");
        held.delete(&KEY).unwrap();
        index::mark(&held.root, &home, &KEY, false).unwrap();
        held.unlist_stray(&home, &KEY).unwrap();
        assert_eq!(listed(), []);
    }
}
