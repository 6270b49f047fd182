//! URLs, lifetimes, and the choice of the server.

use super::*;

#[test]
fn a_url_names_servers() {
    let names = |url: &str| addresses(url).unwrap();
    assert_eq!(names("memcached://cache.example:1"), ["cache.example:1"]);
    assert_eq!(
        names("Memcached://a,[::1]:2,[::1],127.0.0.1"),
        ["a:11211", "[::1]:2", "[::1]:11211", "127.0.0.1:11211"]
    );
    for wrong in ["", "//", "a", "//a,", "//a:0", "//a:x", "//a:1/", "//a b", "//a\r\n", "//[a]:1", "//u:secret@a"] {
        let error = addresses(&format!("memcached:{wrong}")).expect_err(wrong);
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("`memcached://host:port`") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn an_exptime_is_relative_up_to_30_days_and_absolute_beyond() {
    const DAY: u64 = 24 * 60 * 60;
    let now = Timestamp::from_millis(1_000_000_000_500);
    let exptime_of = |millis| exptime(Duration::from_millis(millis), now);
    assert_eq!([exptime_of(0), exptime_of(1), exptime_of(1000), exptime_of(1001)], [5, 6, 6, 7]);
    assert_eq!(exptime_of(1000 * (30 * DAY - 5)), 30 * DAY);
    assert_eq!(exptime_of(1000 * (30 * DAY - 5) + 1), 1_000_000_001 + 30 * DAY);
    assert_eq!(exptime_of(1000 * 40 * DAY), 1_000_000_006 + 40 * DAY);
    let last = 1000 * (MAX_ABSOLUTE_EXPTIME - 1_000_000_006);
    assert_eq!(
        [exptime_of(last), exptime_of(last + 1000), exptime_of(i64::MAX.cast_unsigned())],
        [MAX_ABSOLUTE_EXPTIME, 0, 0]
    );
}

#[test]
fn an_added_server_takes_over_keys_and_no_key_moves_between_the_others() {
    let store = |names: &[&str]| Memcached {
        servers: names.iter().map(|name| Server::new((*name).to_owned(), 1)).collect(),
        prefix: String::new(),
        timeout: Duration::ZERO,
        clock: Arc::new(SystemClock),
    };
    let (three, turned, four) =
        (store(&["a:1", "b:1", "c:1"]), store(&["c:1", "a:1", "b:1"]), store(&["d:1", "a:1", "b:1", "c:1"]));
    let mut counts = std::collections::BTreeMap::new();
    for number in 0..=u8::MAX {
        let key = Key::from_bytes([number; 32]);
        let [before, same, after] = [&three, &turned, &four].map(|store| store.server_of(&key).0.address());
        assert_eq!(before, same);
        assert!(after == before || after == "d:1", "{before} {after}");
        *counts.entry(after.to_owned()).or_insert(0_u32) += 1;
    }
    // Each of the four servers should keep about 64 of the 256 keys.
    assert!(counts.len() == 4 && counts.values().all(|count| (32..128).contains(count)), "{counts:?}");
    // If this changes, an update of this crate loses sessions.
    let first = (0..12).map(|number| &three.server_of(&Key::from_bytes([number; 32])).0.address()[..1]);
    assert_eq!(first.collect::<String>(), "baaccacbcccc");
}

#[tokio::test]
async fn a_prefix_that_would_be_commands_is_refused() {
    for prefix in ["a b", "a\r\nflush_all\r\n", "ü", &"x".repeat(121)] {
        let options = Options::new("memcached://127.0.0.1:1").key_prefix(prefix);
        assert_eq!(MemcachedStore::open(&options).await.unwrap_err().kind(), ErrorKind::Config);
    }
}
