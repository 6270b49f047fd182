use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::base::clock::ManualClock;
use crate::store::conformance;

const HOUR: Duration = Duration::from_secs(3600);

/// A change of the entries in the middle of a call.
type Event = Box<dyn Fn(&mut BTreeMap<Key, Bytes>) + Send>;

#[derive(Default)]
struct Map {
    entries: Mutex<BTreeMap<Key, Bytes>>,
    before_swap: Mutex<Option<Event>>,
    after_first_visit: Mutex<Option<Event>>,
    /// Keys that scans leave out.
    unlisted: Mutex<Vec<Key>>,
}

impl Map {
    fn first(&self, after: Bound<Key>) -> Option<(Key, Bytes)> {
        let entries = self.entries.lock().unwrap();
        entries.range((after, Bound::Unbounded)).next().map(|(key, value)| (*key, value.clone()))
    }
}

fn run_event(event: &Mutex<Option<Event>>, entries: &mut BTreeMap<Key, Bytes>) {
    if let Some(event) = event.lock().unwrap().take() {
        event(entries);
    }
}

impl KeyValue for Map {
    type Tag = Bytes;

    async fn load(&self, key: &Key) -> Result<Option<(Bytes, Bytes)>> {
        Ok(self.entries.lock().unwrap().get(key).map(|value| (value.clone(), value.clone())))
    }

    async fn swap(&self, key: &Key, expected: Option<Bytes>, value: Bytes, _: Timestamp) -> Result<bool> {
        let mut entries = self.entries.lock().unwrap();
        run_event(&self.before_swap, &mut entries);
        let is_unchanged = entries.get(key) == expected.as_ref();
        if is_unchanged {
            entries.insert(*key, value);
        }
        Ok(is_unchanged)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.entries.lock().unwrap().remove(key);
        Ok(())
    }

    fn can_scan(&self) -> bool {
        true
    }

    /// Lets other calls run after each entry.
    async fn scan(&self, visit: &mut (dyn FnMut(Key, Bytes) + Send)) -> Result<()> {
        let mut rest = Bound::Unbounded;
        while let Some((key, value)) = self.first(rest) {
            if !self.unlisted.lock().unwrap().contains(&key) {
                visit(key, value);
            }
            run_event(&self.after_first_visit, &mut self.entries.lock().unwrap());
            rest = Bound::Excluded(key);
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

const fn key(n: u8) -> Key {
    Key::from_bytes([n; 32])
}

fn store() -> KeyValueStore<Map> {
    Map::default().into_store(Arc::new(ManualClock::default()))
}

fn record(store: &KeyValueStore<Map>, version: u64) -> Record {
    let now = store.clock.now();
    Record::new(Version::from_bits(version), now.plus(HOUR)).with_scope("s").with_times(now, now).with_identity("ada")
}

fn encoded(record: &Record) -> Bytes {
    encode_record(record).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn any_back_end_keeps_the_contract() {
    let open = async |clock: Arc<ManualClock>| Arc::new(Map::default().into_store(clock)) as Arc<dyn Store>;
    conformance::run(open).await;
}

#[tokio::test]
async fn an_update_recognizes_its_own_earlier_attempt() {
    let store = store();
    let (first, second) = (record(&store, 1), record(&store, 2));
    store.create(&key(1), &first).await.unwrap();
    let value = encoded(&second);
    *store.back_end.before_swap.lock().unwrap() = Some(Box::new(move |entries| {
        entries.insert(key(1), value.clone());
    }));
    assert_eq!(store.update(&key(1), first.version, &second).await.unwrap(), Update::Updated);
    let third = record(&store, 3);
    assert_eq!(store.update(&key(1), first.version, &third).await.unwrap(), Update::Conflict(second));
}

#[tokio::test]
async fn a_list_follows_a_session_that_moves_behind_the_scan() {
    let store = store();
    let theirs = record(&store, 1);
    store.create(&key(3), &Record { identity: None, ..theirs.clone() }).await.unwrap();
    store.create(&key(5), &theirs).await.unwrap();
    let (value, until) = (encoded(&theirs), theirs.expires_at);
    *store.back_end.after_first_visit.lock().unwrap() = Some(Box::new(move |entries| {
        for (from, to) in [(5, 1), (1, 2), (2, 0)] {
            entries.insert(key(from), encode_tombstone(Tombstone::moved(key(to), until)).0);
        }
        entries.insert(key(0), value.clone());
    }));
    assert_eq!(store.list("s", "ada").await.unwrap(), [(key(0), theirs)]);
}

#[tokio::test]
async fn a_list_skips_malformed_entries_and_other_users_sessions_that_it_follows() {
    let store = store();
    let until = record(&store, 1).expires_at;
    store.create(&key(3), &record(&store, 3)).await.unwrap();
    let value = encoded(&record(&store, 1).with_identity("bob"));
    *store.back_end.after_first_visit.lock().unwrap() = Some(Box::new(move |entries| {
        for (from, to) in [(4, 0), (5, 1), (6, 2)] {
            entries.insert(key(from), encode_tombstone(Tombstone::moved(key(to), until)).0);
        }
        entries.insert(key(0), Bytes::from_static(b"malformed"));
        entries.insert(key(1), value.clone());
    }));
    assert_eq!(store.list("s", "ada").await.unwrap(), [(key(3), record(&store, 3))]);
}

#[tokio::test]
async fn a_list_of_a_session_that_moves_without_end_fails() {
    let store = store();
    let until = record(&store, 1).expires_at;
    for number in 0..MAX_MOVES + 2 {
        let at = |number: usize| Key::from_bytes([u8::try_from(number).unwrap(); 32]);
        let tombstone = Tombstone::moved(at(number + 1), until);
        store.back_end.unlisted.lock().unwrap().extend((number > 0).then(|| at(number)));
        store.back_end.entries.lock().unwrap().insert(at(number), encode_tombstone(tombstone).0);
    }
    assert_eq!(store.list("s", "ada").await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_malformed_entry_hides_no_other_session() {
    let store = store();
    let theirs = record(&store, 1);
    store.create(&key(2), &theirs).await.unwrap();
    store.back_end.entries.lock().unwrap().insert(key(1), Bytes::from_static(b"malformed"));
    assert_eq!(store.load(&key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.list("s", "ada").await.unwrap(), [(key(2), theirs)]);
    assert_eq!(store.stats().await.unwrap().live, 1);
}
