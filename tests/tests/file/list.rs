//! A list of a user's sessions while other calls write.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use session_rocket::store::Store;
use session_rocket::{Key, Version};
use tokio::task::JoinSet;

use super::{create, file_of, open, record, session_directory};

/// More files than the operating system lists in one call.
const SESSIONS: u16 = 2000;

fn key(number: u16) -> Key {
    let mut bytes = [0xAB; 32];
    bytes[30..].copy_from_slice(&number.to_be_bytes());
    Key::from_bytes(bytes)
}

/// A file system in memory can skip a file that is replaced while its folder is listed.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_saved_during_a_list_is_listed() {
    const LISTS: usize = 60;
    let (folder, mut path) = session_directory();
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    if let Some(memory) = &memory {
        path = memory.path().join("sessions");
    }
    let store = Arc::new(open(&path).await);
    let first = record(1).with_identity("ada");
    create(&store, &key(0), &first).await;
    for number in 1..SESSIONS {
        fs::copy(file_of(&path, &key(0)), file_of(&path, &key(number))).expect("the file can be copied");
    }
    let mut savers = JoinSet::new();
    for part in 0..4 {
        let (store, expiry) = (store.clone(), first.expires_at);
        savers.spawn(async move {
            for round in 1.. {
                for number in (part..SESSIONS).step_by(4) {
                    let later = expiry.plus(Duration::from_millis(round));
                    store.touch(&key(number), Version::from_bits(1), later).await.expect("the touch succeeds");
                }
            }
        });
    }
    let lister = open(&path).await;
    for _ in 0..LISTS {
        let listed = lister.list("session", "ada").await.expect("the list succeeds");
        assert_eq!(listed.len(), usize::from(SESSIONS));
    }
    drop((savers, folder));
}
