//! The entries that a scan reads at once.

use std::path::Path;

use bytes::Bytes;

use super::shard::{LockedShard, Shard, shard_of};
use crate::base::error::Result;
use crate::base::id::Key;

/// A batch ends with the shard that brings it to this many keys, or after [`SHARDS`].
const SIZE: usize = 256;
/// How many shards one call to the disk lists at most. With one shard in each call, a scan of few sessions would change
/// threads for each of the 256 shards. With all of them, the call would time out on a slow disk.
const SHARDS: usize = 16;
/// How many files one call to the disk reads at most.
pub(super) const CHUNK: usize = 1000;

/// The keys of some shards.
pub(super) struct Batch {
    pub(super) keys: Vec<Key>,
    /// The first shard after the batch, unless the batch contains the last one.
    pub(super) next: Option<u8>,
}

impl Batch {
    /// Lists the locked shard `first` and the shards after it, up to the next one whose lock another process holds. Without
    /// the lock, some file systems would list neither the old file nor the new one while a file is replaced.
    pub(super) fn list(root: &Path, first: u8, locked: LockedShard) -> Result<Self> {
        let mut keys = locked.keys()?;
        drop(locked);
        let mut next = first.checked_add(1);
        for _ in 1..SHARDS {
            let Some(number) = next.filter(|_| keys.len() < SIZE) else { break };
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

    /// Lists one shard, even if another process holds its lock.
    pub(super) fn list_without_lock(root: &Path, number: u8) -> Result<Self> {
        Ok(Self { keys: Shard::new(root, number).keys()?, next: number.checked_add(1) })
    }
}

/// Returns the entries of those keys whose files still exist.
pub(super) fn read(root: &Path, keys: &[Key]) -> Result<Vec<(Key, Bytes)>> {
    let entry = |key: &Key| Shard::new(root, shard_of(key)).read(key).map(|value| Some((*key, value?))).transpose();
    keys.iter().filter_map(entry).collect()
}
