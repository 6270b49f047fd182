//! Locks, and errors of the disk.

use super::*;

#[test]
fn only_the_error_of_a_full_disk_advises_to_free_space() {
    for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge] {
        let error = failed_to("write a file")(full.into());
        assert!(error.to_string().contains(": free space on its disk"), "{error}");
    }
    let error = failed_to("write a file")(io::ErrorKind::PermissionDenied.into());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.to_string(), "cannot write a file in the session directory");
}

/// A duplicate of the folder's descriptor has the same effect as a forked child.
#[test]
fn a_lock_is_released_although_a_forked_child_has_the_folder_open() {
    let root = tempfile::tempdir().unwrap();
    let locked = LockedShard::try_lock(root.path(), 1).unwrap().unwrap();
    let child = locked.folder.try_clone().unwrap();
    assert!(LockedShard::try_lock(root.path(), 1).unwrap().is_none());
    drop(locked);
    assert!(LockedShard::try_lock(root.path(), 1).unwrap().is_some());
    drop(child);
}
