//! The way of a sweep through all files.

use super::folder::{Folder, key_of};
use super::records;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::Key;
use crate::store::Stats;

/// So many files are removed under one lock: others' writes wait for no more than that.
const BATCH: usize = 100;

/// A stretch of the way, within one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub part: u8,
    /// The first key of it.
    pub from: Key,
    /// The first key that is not of it any more; without one, it goes to the end of the part.
    pub until: Option<Key>,
}

/// The first key of a part.
pub(super) fn start_of(part: u8) -> Key {
    let mut bytes = [0; 32];
    bytes[0] = part;
    Key::from_bytes(bytes)
}

/// All the way round, from `start` on: the part that it is in comes twice.
pub(super) fn round(start: Key) -> impl Iterator<Item = Stretch> {
    let first = records::part_of(&start);
    let rest = (1..=u8::MAX).map(move |n| first.wrapping_add(n));
    let rest = rest.map(|part| Stretch { part, from: start_of(part), until: None });
    let last = Stretch { part: first, from: start_of(first), until: Some(start) };
    let beginning = Stretch { part: first, from: start, until: None };
    std::iter::once(beginning).chain(rest).chain((last.from < start).then_some(last))
}

/// The next keys of a stretch that have expired, at most `limit`, in their order; less than that at its end.
pub(super) fn expired(root: &Folder, stretch: Stretch, limit: usize, now: Timestamp) -> Result<Vec<Key>> {
    let mut expired = Vec::new();
    let Some(folder) = root.find(&records::part_name(stretch.part))? else { return Ok(expired) };
    let mut unreadable = 0_u32;
    for key in keys(&folder, stretch)? {
        match records::read_expiry(&folder, &key) {
            Ok(Some(expires_at)) if expires_at <= now => expired.push(key),
            Ok(_) => {}
            Err(_) => unreadable += 1,
        }
        if expired.len() == limit {
            break;
        }
    }
    if unreadable > 0 {
        let part = stretch.part;
        log::warn!(
            target: "session_rocket",
            "the sweep leaves {unreadable} files in `{part:02x}` of the session directory: they cannot be read"
        );
    }
    Ok(expired)
}

/// How much is in a part.
pub(super) fn count(root: &Folder, part: u8, now: Timestamp) -> Result<Stats> {
    let mut stats = Stats::default();
    let Some(folder) = root.find(&records::part_name(part))? else { return Ok(stats) };
    for key in keys(&folder, Stretch { part, from: start_of(part), until: None })? {
        stats.add(&records::read_any(root, &key)?, now);
    }
    Ok(stats)
}

/// How many keys to look for, if so many may be removed yet.
pub(super) fn batch(left: u64) -> usize {
    usize::try_from(left).unwrap_or(BATCH).min(BATCH)
}

/// The keys of a stretch, in their order. On the way, what killed processes left is removed.
fn keys(folder: &Folder, stretch: Stretch) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    folder.each(|name| match key_of(name) {
        Some(key) => keys.push(key),
        None => folder.remove_left_over(name),
    })?;
    keys.retain(|key| *key >= stretch.from && stretch.until.is_none_or(|until| *key < until));
    keys.sort_unstable();
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(start: Key) -> Vec<u8> {
        round(start).map(|stretch| stretch.part).collect()
    }

    #[test]
    fn a_round_comes_by_every_key_once() {
        let whole: Vec<u8> = (0..=255).collect();
        assert_eq!(parts(start_of(0)), whole);
        assert_eq!(parts(start_of(200)), [&whole[200..], &whole[..200]].concat());
        let middle = Key::from_bytes([200; 32]);
        assert_eq!(parts(middle), [&whole[200..], &whole[..=200]].concat());
        for start in [start_of(0), start_of(255), middle] {
            for key in [start_of(0), middle, Key::from_bytes([255; 32]), start_of(201)] {
                let times = round(start).filter(|stretch| {
                    let Stretch { part, from, until } = *stretch;
                    part == records::part_of(&key) && key >= from && until.is_none_or(|until| key < until)
                });
                assert_eq!(times.count(), 1);
            }
        }
    }
}
