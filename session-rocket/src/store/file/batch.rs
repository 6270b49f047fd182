//! The entries that a scan reads at once.

use std::path::Path;

use bytes::Bytes;

use super::shard::Shard;
use crate::base::error::Result;
use crate::base::id::Key;

/// A batch ends with the shard that brings it to this many entries. With smaller batches, a scan of few sessions would
/// change threads for each of the 256 shards.
const SIZE: usize = 256;

/// The entries of some shards.
pub(super) struct Batch {
    pub(super) entries: Vec<(Key, Bytes)>,
    /// The first shard after the batch, unless the batch contains the last one.
    pub(super) next: Option<u8>,
}

impl Batch {
    /// Reads the shards from `first` on, up to the first one whose lock another process holds. Returns `None` if that is
    /// `first`.
    pub(super) fn try_read(root: &Path, first: u8) -> Result<Option<Self>> {
        let mut entries = Vec::new();
        for number in first..=u8::MAX {
            let shard = Shard::new(root, number);
            match shard.try_names()? {
                Some(names) => entries.extend(shard.read_all(&names)?),
                None if number == first => return Ok(None),
                None => return Ok(Some(Self { entries, next: Some(number) })),
            }
            if entries.len() >= SIZE {
                return Ok(Some(Self { entries, next: number.checked_add(1) }));
            }
        }
        Ok(Some(Self { entries, next: None }))
    }

    /// Reads one shard, even if another process holds its lock.
    pub(super) fn read_without_lock(root: &Path, number: u8) -> Result<Self> {
        let shard = Shard::new(root, number);
        let entries = shard.read_all(&shard.names()?)?;
        Ok(Self { entries, next: number.checked_add(1) })
    }
}
