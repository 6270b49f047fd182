//! Lists and reads the files of the session directory in parts, so that no call to the disk takes too long.

use std::path::Path;

use bytes::Bytes;

use super::shard::{LockedShard, Shard, shard_of};
use crate::base::error::Result;
use crate::base::id::Key;

/// A listing that has this many keys does not continue with another shard.
const ENOUGH_KEYS: usize = 256;
/// The maximum number of shards in a listing. With one shard in each listing, a scan of even a few sessions would make 256
/// calls to the disk. A listing of all shards would time out on a slow disk.
const MAX_SHARDS: usize = 16;
/// The maximum number of files that one call to the disk reads.
pub(super) const FILES_PER_CALL: usize = 1000;

/// The keys of one or more consecutive shards.
pub(super) struct Listing {
    pub(super) keys: Vec<Key>,
    /// The first shard after the listing, if any.
    pub(super) next: Option<u8>,
}

impl Listing {
    /// Lists the shard `first`, whose lock is `locked`, and the following shards. Stops at the limits above, and before a
    /// shard whose lock another process holds.
    ///
    /// Takes the lock of each shard, because some file systems list neither the old file nor the new file while another
    /// process replaces a file.
    pub(super) fn of(root: &Path, first: u8, locked: LockedShard) -> Result<Self> {
        let mut keys = locked.keys()?;
        drop(locked);
        let mut next = first.checked_add(1);
        for _ in 1..MAX_SHARDS {
            let Some(number) = next.filter(|_| keys.len() < ENOUGH_KEYS) else { break };
            if !Shard::new(root, number).exists()? {
                next = number.checked_add(1);
                continue;
            }
            let Some(locked) = LockedShard::try_lock(root, number)? else { break };
            keys.extend(locked.keys()?);
            next = number.checked_add(1);
        }
        Ok(Self { keys, next })
    }

    /// Lists one shard without its lock.
    pub(super) fn of_unlocked(root: &Path, number: u8) -> Result<Self> {
        Ok(Self { keys: Shard::new(root, number).keys()?, next: number.checked_add(1) })
    }
}

/// Returns the entries of `keys`, except those whose files no longer exist.
pub(super) fn read(root: &Path, keys: &[Key]) -> Result<Vec<(Key, Bytes)>> {
    let entry = |key: &Key| Shard::new(root, shard_of(key)).read(key).map(|value| Some((*key, value?))).transpose();
    keys.iter().filter_map(entry).collect()
}
