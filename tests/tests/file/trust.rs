//! Permissions, links, and what is somebody else's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::geteuid;
use session_rocket::store::{Options, Store, conformance};
use session_rocket::{Error, ErrorKind, Key};

use super::{KEY, created, file_of, found, open, place, record, refused};

/// A user that this process is not.
const OTHER: u32 = 4321;

fn is_root() -> bool {
    geteuid().is_root()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("something there").mode() & 0o7777
}

fn assert_config(error: &Error, says: &str) {
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains(says), "{error} does not say: {says}");
}

/// All that is below a path.
fn all_in(path: &Path) -> Vec<std::path::PathBuf> {
    let mut all = vec![path.to_owned()];
    let mut next = 0;
    while next < all.len() {
        if all[next].is_dir() {
            all.extend(fs::read_dir(&all[next]).expect("a folder").map(|entry| entry.expect("an entry").path()));
        }
        next += 1;
    }
    all
}

#[tokio::test]
async fn nobody_else_may_enter_what_is_made() {
    let (_folder, path) = place();
    let store = open(&path).await;
    created(&store, &KEY, &record(1).with_identity("ada")).await;
    let all = all_in(&path);
    assert!(all.contains(&file_of(&path, &KEY)));
    for made in &all {
        let wanted = if made.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(made), wanted, "{}", made.display());
    }
    let names = all.iter().map(|made| made.to_string_lossy().into_owned()).collect::<String>();
    assert!(!names.contains("ada") && !names.contains("probe"), "{names}");
}

#[tokio::test]
async fn a_directory_that_others_may_enter_is_refused() {
    let (_folder, path) = place();
    drop(open(&path).await);
    for mode in [0o755, 0o701, 0o720, 0o704] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        let error = refused(&path).await;
        assert_config(&error, &format!("mode is {mode:04o}): run `chmod 700 {}`", path.display()));
        assert_config(&error, "empty the directory");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("a mode");
    open(&path).await;
}

#[tokio::test]
async fn a_directory_of_another_user_is_refused() {
    let (_folder, path) = place();
    if is_root() {
        fs::create_dir(&path).expect("a directory");
        chown(&path, Some(OTHER), None).expect("another owner");
        let error = refused(&path).await;
        assert_config(&error, &format!("belongs to user {OTHER}, not to user 0: run `chown 0 "));
        assert_config(&error, "empty the directory");
    } else {
        assert_config(&refused(Path::new("/usr")).await, "belongs to user 0, not to user");
    }
}

#[tokio::test]
async fn a_link_is_not_followed() {
    let (folder, path) = place();
    let link = folder.path().join("link");
    drop(open(&path).await);
    symlink(&path, &link).expect("a link");
    for name in ["link", "link/", "link/."] {
        assert_config(&refused(&folder.path().join(name)).await, "is a symbolic link");
    }
    symlink(folder.path().join("nowhere"), folder.path().join("dangling")).expect("a link");
    assert_config(&refused(&folder.path().join("dangling")).await, "is a symbolic link");
}

#[tokio::test]
async fn what_is_no_directory_or_has_no_parent_is_refused() {
    let (folder, path) = place();
    fs::write(&path, "").expect("a file");
    assert_config(&refused(&path).await, "is not a directory");
    let parent = folder.path().join("missing");
    assert_config(&refused(&parent.join("sessions")).await, &format!("run `mkdir -p {}`", parent.display()));
    assert!(!parent.exists());
    assert_config(&refused(&path.join("sessions")).await, &format!("`{}` is not a directory", path.display()));
}

/// Not even root writes there.
#[tokio::test]
async fn a_directory_that_cannot_be_written_is_refused() {
    if is_root() {
        let why = "cannot create `/proc/sessions`: the file system of `/proc` does not allow new directories";
        assert_config(&refused(Path::new("/proc/sessions")).await, why);
    } else {
        let (_folder, path) = place();
        fs::create_dir(&path).expect("a directory");
        fs::set_permissions(&path, Permissions::from_mode(0o500)).expect("a mode");
        assert_config(&refused(&path).await, "cannot write to");
    }
}

/// Does nothing by itself: it is what the process of the next test runs.
#[tokio::test]
async fn opens_a_relative_directory() {
    let Some(path) = super::told() else { return };
    std::env::set_current_dir(&path).expect("a directory");
    let store = session_rocket::store::open(&Options::new("file:sessions")).await.expect("a store");
    std::env::set_current_dir("/").expect("a directory");
    store.create(&KEY, &record(1)).await.expect("a create");
}

#[tokio::test]
async fn a_relative_path_is_one_of_the_directory_at_the_time() {
    let (folder, path) = place();
    let mut child: Command = super::this("trust::opens_a_relative_directory", folder.path());
    assert!(child.stdout(Stdio::null()).status().expect("an end").success());
    assert_eq!(found(&open(&path).await, &KEY).await.version, record(1).version);
}

async fn assert_unavailable(store: &dyn Store, key: &Key) {
    let record = record(2);
    let tombstone = session_rocket::Tombstone::ended(record.expires_at);
    for (call, error) in [
        ("load", store.load(key).await.err()),
        ("create", store.create(key, &record).await.err()),
        ("update", store.update(key, record.version, &record).await.err()),
        ("touch", store.touch(key, record.version, record.expires_at).await.err()),
        ("retire", store.retire(key, None, tombstone).await.err()),
    ] {
        let error = error.unwrap_or_else(|| panic!("{call} read it"));
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{call}: {error:?}");
        assert!(!format!("{error:?}").contains(&key.to_hex()), "{error:?}");
    }
}

/// Each way to lose the directory while the store is open, and the way back.
#[tokio::test]
async fn a_directory_that_was_replaced_is_no_answer() {
    let (folder, path) = place();
    let store = open(&path).await;
    let original = record(1);
    created(&store, &KEY, &original).await;
    let aside = folder.path().join("aside");
    fs::rename(&path, &aside).expect("a rename");
    conformance::errors_are_not_answers(&store).await;
    fs::write(&path, "").expect("a file");
    conformance::errors_are_not_answers(&store).await;
    fs::remove_file(&path).expect("a removal");
    symlink(&aside, &path).expect("a link");
    conformance::errors_are_not_answers(&store).await;
    fs::remove_file(&path).expect("a removal");
    fs::create_dir(&path).expect("a directory");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode");
    conformance::errors_are_not_answers(&store).await;
    fs::remove_dir(&path).expect("nothing was put there");
    fs::rename(&aside, &path).expect("a rename");
    assert_eq!(found(&store, &KEY).await, original);
}

#[tokio::test]
async fn a_damaged_file_is_an_error() {
    let (_folder, path) = place();
    let store = open(&path).await;
    created(&store, &KEY, &record(1)).await;
    let file = file_of(&path, &KEY);
    let whole = fs::read(&file).expect("a file");
    for damaged in [&[][..], &whole[..8], &whole[..9], &whole[..40], &[9; 300], &[2, 9, 9, 9, 9, 9, 9, 9, 9, 9]] {
        fs::write(&file, damaged).expect("a write");
        assert_unavailable(&store, &KEY).await;
    }
    fs::write(&file, &whole).expect("a write");
    assert_eq!(found(&store, &KEY).await.payload, record(1).payload);
}

/// Whatever stands in place of a record, no call hangs, and none follows a link to a valid record.
#[tokio::test]
async fn a_record_is_read_from_a_regular_file_only() {
    let (folder, path) = place();
    let store = open(&path).await;
    let original = record(1);
    created(&store, &KEY, &original).await;
    let (file, aside) = (file_of(&path, &KEY), folder.path().join("aside"));
    fs::rename(&file, &aside).expect("a rename");

    symlink(&aside, &file).expect("a link");
    assert_unavailable(&store, &KEY).await;
    assert_eq!(store.list("session", "ada").await.expect_err("a link").kind(), ErrorKind::Unavailable);
    fs::remove_file(&file).expect("a removal");

    assert!(Command::new("mkfifo").arg(&file).status().expect("mkfifo").success());
    assert_unavailable(&store, &KEY).await;
    fs::remove_file(&file).expect("a removal");

    fs::create_dir(&file).expect("a folder");
    assert_unavailable(&store, &KEY).await;
    fs::remove_dir(&file).expect("a removal");

    fs::rename(&aside, &file).expect("a rename");
    assert_eq!(found(&store, &KEY).await, original);
}

fn assert_foreign<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let error = answer.expect_err("it belongs to another user");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("contains a file or folder of another user"), "{error}");
    assert!(!format!("{error:?}").contains("abab"), "{error:?}");
}

/// Only root can give a file to another user.
#[tokio::test]
async fn a_record_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let (_folder, path) = place();
    let store = open(&path).await;
    let original = record(1).with_identity("ada");
    created(&store, &KEY, &original).await;
    let file = file_of(&path, &KEY);
    chown(&file, Some(OTHER), None).expect("another owner");
    assert_foreign(store.load(&KEY).await);
    assert_foreign(store.update(&KEY, original.version, &record(2)).await);
    assert_foreign(store.list("session", "ada").await);
    assert_foreign(store.retire_all("session", "ada", None, original.expires_at).await);
    chown(&file, Some(0), None).expect("an owner");
    assert_eq!(found(&store, &KEY).await, original);
}

#[tokio::test]
async fn a_folder_of_another_user_or_a_link_is_refused() {
    if !is_root() {
        return;
    }
    let (folder, path) = place();
    let store = open(&path).await;
    let original = record(1).with_identity("ada");
    created(&store, &KEY, &original).await;
    let shard = path.join("ab");
    chown(&shard, Some(OTHER), None).expect("another owner");
    assert_foreign(store.update(&KEY, original.version, &record(2)).await);
    assert_foreign(store.list("session", "ada").await);
    assert_foreign(store.delete_expired(1).await);
    assert_config(&refused(&path).await, "contains a file or folder of another user: empty the directory");
    chown(&shard, Some(0), None).expect("an owner");

    let aside = folder.path().join("aside");
    fs::rename(&shard, &aside).expect("a rename");
    symlink(&aside, &shard).expect("a link");
    let error = store.list("session", "ada").await.expect_err("a link");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(store.update(&KEY, original.version, &record(2)).await.is_err());
    fs::remove_file(&shard).expect("a removal");
    fs::rename(&aside, &shard).expect("a rename");
    assert_eq!(found(&store, &KEY).await, original);
}
