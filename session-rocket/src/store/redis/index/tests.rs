//! Names and scores of an index.

use super::*;

#[test]
fn scopes_and_identities_do_not_run_into_each_other() {
    assert_ne!(name("ab", "c"), name("a", "bc"));
    assert_eq!(name("a", "b"), name("a", "b"));
}

#[test]
fn a_score_fits_into_a_double_whatever_the_moment() {
    for now in [i64::MIN, 0, 1_700_000_000_000, i64::MAX] {
        for lifetime in [Duration::ZERO, Duration::MAX] {
            let (second, hour) = score_times(Timestamp::from_millis(now), retention(lifetime));
            assert!(hour * HOUR_FACTOR + second < 1 << 53);
        }
    }
}

#[test]
fn an_entry_is_recent_for_the_grace() {
    let added = Timestamp::from_millis(1_700_000_000_000);
    let (second, hour) = score_times(added, retention(Duration::from_hours(1)));
    let entry = IndexEntry { key: Key::from_bytes([0; 32]), score: hour * HOUR_FACTOR + second };
    let grace = Duration::from_secs(60);
    assert!(entry.is_recent(added, grace) && entry.is_recent(added.plus(grace), grace));
    assert!(!entry.is_recent(added.plus(grace * 2), grace));
}
