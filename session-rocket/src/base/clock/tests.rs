use time::macros::datetime;

use super::*;

#[test]
fn a_timestamp_is_shown_and_serialized_as_a_date_in_utc() {
    let timestamp = Timestamp::from(datetime!(2026-11-30 07:49:21.9 +01:00));
    assert_eq!(timestamp.as_millis() % 1000, 900);
    assert_eq!(timestamp.to_string(), "2026-11-30T06:49:21Z");
    assert_eq!(serde_json::to_string(&timestamp).unwrap(), "\"2026-11-30T06:49:21Z\"");
}

#[test]
fn a_timestamp_converts_to_a_date_and_back() {
    for millis in [0, 1, -1, 1_764_485_361_900, -62_135_596_800_001] {
        let timestamp = Timestamp::from_millis(millis);
        assert_eq!(Timestamp::from(timestamp.to_date()), timestamp);
    }
    assert_eq!(Timestamp::from_millis(i64::MAX).to_date(), datetime!(9999-12-31 23:59:59 UTC));
    assert_eq!(Timestamp::from_millis(i64::MIN).to_date(), datetime!(0000-01-01 0:00 UTC));
}

#[test]
fn sums_and_differences_of_timestamps_do_not_overflow() {
    let (one, last) = (Timestamp::from_millis(1), Timestamp::from_millis(i64::MAX));
    assert_eq!(one.plus(Duration::from_secs(1)), Timestamp::from_millis(1001));
    assert_eq!((one.plus(Duration::MAX), last.plus(Duration::from_secs(1))), (last, last));
    assert_eq!(one.until(Timestamp::from_millis(1001)), Duration::from_secs(1));
    assert_eq!(last.until(one), Duration::ZERO);
}
