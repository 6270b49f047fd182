//! Names of files, locks, and errors of the disk.

use super::*;

#[test]
fn a_full_disk_is_told_from_another_error() {
    for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge] {
        let error = cannot("write a file")(full.into());
        assert!(error.to_string().contains("no room"), "{error}");
    }
    let error = cannot("write a file")(io::ErrorKind::PermissionDenied.into());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.to_string(), "cannot write a file in the session directory");
}

/// A forked child shares the open folder as a duplicate of its descriptor does.
#[test]
fn a_lock_is_released_although_a_forked_child_has_the_folder_open() {
    let root = tempfile::tempdir().unwrap();
    let locked = LockedShard::try_lock(root.path(), 1).unwrap().unwrap();
    let child = locked.lock.folder.try_clone().unwrap();
    assert!(Listed::try_lock(root.path(), 1).unwrap().is_none());
    drop(locked);
    let listed = Listed::try_lock(root.path(), 1).unwrap().unwrap();
    let other_child = listed.lock.as_ref().unwrap().folder.try_clone().unwrap();
    assert!(LockedShard::try_lock(root.path(), 1).unwrap().is_none());
    drop(listed);
    assert!(LockedShard::try_lock(root.path(), 1).unwrap().is_some());
    drop((child, other_child));
}

#[test]
fn only_the_name_of_a_key_is_read_as_a_key() {
    let key = Key::from_bytes([0xAF; 32]);
    assert_eq!(key_of(&key.to_hex()), Some(key));
    let upper = key.to_hex().to_uppercase();
    let signed = format!("+1{}", &key.to_hex()[2..]);
    let longer = format!("{}00", key.to_hex());
    for none in ["", "af", "..", &"é".repeat(32), &upper, &signed, &longer, &longer[..62]] {
        assert_eq!(key_of(none), None, "{none}");
    }
}
