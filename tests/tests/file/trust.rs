//! Permissions, symbolic links, and files of other users.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::geteuid;
use session_rocket::store::{Options, Store, conformance};
use session_rocket::{Error, ErrorKind, Key};

use super::{KEY, create, file_of, load, open, open_error, record, session_directory};

/// The id of another user.
const OTHER: u32 = 4321;

fn is_root() -> bool {
    geteuid().is_root()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("the path exists").mode() & 0o7777
}

/// Asserts that the error is a configuration error with this text.
fn assert_config(error: &Error, text: &str) {
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains(text), "{error} does not contain: {text}");
}

/// Returns a path and all paths below it.
fn all_in(path: &Path) -> Vec<std::path::PathBuf> {
    let mut all = vec![path.to_owned()];
    let mut next = 0;
    while next < all.len() {
        if all[next].is_dir() {
            all.extend(
                fs::read_dir(&all[next])
                    .expect("the folder can be read")
                    .map(|entry| entry.expect("the entry can be read").path()),
            );
        }
        next += 1;
    }
    all
}

#[tokio::test]
async fn other_users_cannot_access_the_files_of_the_store() {
    let (_folder, path) = session_directory();
    let store = open(&path).await;
    create(&store, &KEY, &record(1).with_identity("ada")).await;
    let all = all_in(&path);
    assert!(all.contains(&file_of(&path, &KEY)));
    for made in &all {
        let expected = if made.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(made), expected, "{}", made.display());
    }
    let names = all.iter().map(|made| made.to_string_lossy().into_owned()).collect::<String>();
    assert!(!names.contains("ada") && !names.contains("probe"), "{names}");
}

#[tokio::test]
async fn a_directory_that_other_users_can_access_is_refused() {
    let (_folder, path) = session_directory();
    drop(open(&path).await);
    for mode in [0o755, 0o701, 0o720, 0o704] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("the mode can be set");
        let error = open_error(&path).await;
        assert_config(&error, &format!("mode is {mode:04o}): run `chmod 700 {}`", path.display()));
        assert_config(&error, "empty the directory");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("the mode can be set");
    open(&path).await;
}

#[tokio::test]
async fn a_directory_of_another_user_is_refused() {
    let (_folder, path) = session_directory();
    if is_root() {
        fs::create_dir(&path).expect("a directory can be created");
        chown(&path, Some(OTHER), None).expect("the owner can be changed");
        let error = open_error(&path).await;
        assert_config(&error, &format!("belongs to user {OTHER}, not to user 0: run `chown 0 "));
        assert_config(&error, "empty the directory");
    } else {
        assert_config(&open_error(Path::new("/usr")).await, "belongs to user 0, not to user");
    }
}

#[tokio::test]
async fn a_symbolic_link_to_a_directory_is_refused() {
    let (folder, path) = session_directory();
    let link = folder.path().join("link");
    drop(open(&path).await);
    symlink(&path, &link).expect("the link can be created");
    for name in ["link", "link/", "link/."] {
        assert_config(&open_error(&folder.path().join(name)).await, "is a symbolic link");
    }
    symlink(folder.path().join("nowhere"), folder.path().join("dangling")).expect("the link can be created");
    assert_config(&open_error(&folder.path().join("dangling")).await, "is a symbolic link");
}

#[tokio::test]
async fn a_file_or_a_directory_without_a_parent_is_refused() {
    let (folder, path) = session_directory();
    fs::write(&path, "").expect("the file can be read");
    assert_config(&open_error(&path).await, "is not a directory");
    let parent = folder.path().join("missing");
    assert_config(&open_error(&parent.join("sessions")).await, &format!("run `mkdir -p {}`", parent.display()));
    assert!(!parent.exists());
    assert_config(&open_error(&path.join("sessions")).await, &format!("`{}` is not a directory", path.display()));
}

/// Not even root can write to `/proc`.
#[tokio::test]
async fn a_directory_that_is_not_writable_is_refused() {
    if is_root() {
        let why = "cannot create `/proc/sessions`: the file system of `/proc` does not allow new directories";
        assert_config(&open_error(Path::new("/proc/sessions")).await, why);
    } else {
        let (_folder, path) = session_directory();
        fs::create_dir(&path).expect("a directory can be created");
        fs::set_permissions(&path, Permissions::from_mode(0o500)).expect("the mode can be set");
        assert_config(&open_error(&path).await, "cannot write to");
    }
}

/// The next test runs this test in another process. Without the environment variable, it does nothing.
#[tokio::test]
async fn opens_a_relative_path_and_changes_the_directory() {
    let Some(path) = super::directory_from_environment() else { return };
    std::env::set_current_dir(&path).expect("a directory can be created");
    let store = session_rocket::store::open(&Options::new("file:sessions")).await.expect("the store opens");
    std::env::set_current_dir("/").expect("a directory can be created");
    store.create(&KEY, &record(1)).await.expect("the record is created");
}

#[tokio::test]
async fn a_relative_path_is_resolved_when_the_store_is_opened() {
    let (folder, path) = session_directory();
    let mut child: Command =
        super::test_command("trust::opens_a_relative_path_and_changes_the_directory", folder.path());
    assert!(child.stdout(Stdio::null()).status().expect("the process ends").success());
    assert_eq!(load(&open(&path).await, &KEY).await.version, record(1).version);
}

/// Asserts that all calls for this key fail with `Unavailable`.
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
        let error = error.unwrap_or_else(|| panic!("{call} succeeded"));
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{call}: {error:?}");
        assert!(!format!("{error:?}").contains(&key.to_hex()), "{error:?}");
    }
}

/// The directory is missing, then a file, a link, and a directory with wrong permissions, and then the original again.
#[tokio::test]
async fn calls_fail_while_the_directory_is_replaced() {
    let (folder, path) = session_directory();
    let store = open(&path).await;
    let original = record(1);
    create(&store, &KEY, &original).await;
    let moved = folder.path().join("moved");
    fs::rename(&path, &moved).expect("the rename succeeds");
    conformance::failures_are_errors(&store).await;
    fs::write(&path, "").expect("the file can be read");
    conformance::failures_are_errors(&store).await;
    fs::remove_file(&path).expect("the removal succeeds");
    symlink(&moved, &path).expect("the link can be created");
    conformance::failures_are_errors(&store).await;
    fs::remove_file(&path).expect("the removal succeeds");
    fs::create_dir(&path).expect("a directory can be created");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("the mode can be set");
    conformance::failures_are_errors(&store).await;
    fs::remove_dir(&path).expect("the store created nothing in the directory");
    fs::rename(&moved, &path).expect("the rename succeeds");
    assert_eq!(load(&store, &KEY).await, original);
}

#[tokio::test]
async fn a_damaged_file_is_an_error() {
    let (_folder, path) = session_directory();
    let store = open(&path).await;
    create(&store, &KEY, &record(1)).await;
    let file = file_of(&path, &KEY);
    let original = fs::read(&file).expect("the file can be read");
    for damaged in
        [&[][..], &original[..8], &original[..9], &original[..40], &[9; 300], &[2, 9, 9, 9, 9, 9, 9, 9, 9, 9]]
    {
        fs::write(&file, damaged).expect("the write succeeds");
        assert_unavailable(&store, &KEY).await;
    }
    fs::write(&file, &original).expect("the write succeeds");
    assert_eq!(load(&store, &KEY).await.payload, record(1).payload);
}

/// No call hangs at a named pipe, and none follows a link to a valid record.
#[tokio::test]
async fn a_link_a_pipe_or_a_folder_instead_of_a_record_is_an_error() {
    let (folder, path) = session_directory();
    let store = open(&path).await;
    let original = record(1);
    create(&store, &KEY, &original).await;
    let (file, moved) = (file_of(&path, &KEY), folder.path().join("moved"));
    fs::rename(&file, &moved).expect("the rename succeeds");

    symlink(&moved, &file).expect("the link can be created");
    assert_unavailable(&store, &KEY).await;
    assert_eq!(store.list("session", "ada").await.expect_err("the path is a link").kind(), ErrorKind::Unavailable);
    fs::remove_file(&file).expect("the removal succeeds");

    assert!(Command::new("mkfifo").arg(&file).status().expect("mkfifo can be run").success());
    assert_unavailable(&store, &KEY).await;
    fs::remove_file(&file).expect("the removal succeeds");

    fs::create_dir(&file).expect("the folder can be read");
    assert_unavailable(&store, &KEY).await;
    fs::remove_dir(&file).expect("the removal succeeds");

    fs::rename(&moved, &file).expect("the rename succeeds");
    assert_eq!(load(&store, &KEY).await, original);
}

/// Asserts that the call fails because a file belongs to another user.
fn assert_foreign<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.expect_err("the file belongs to another user");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("contains a file or folder of another user"), "{error}");
    assert!(!format!("{error:?}").contains("abab"), "{error:?}");
}

/// Only root can change the owner of a file.
#[tokio::test]
async fn a_record_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let (_folder, path) = session_directory();
    let store = open(&path).await;
    let original = record(1).with_identity("ada");
    create(&store, &KEY, &original).await;
    let file = file_of(&path, &KEY);
    chown(&file, Some(OTHER), None).expect("the owner can be changed");
    assert_foreign(store.load(&KEY).await);
    assert_foreign(store.update(&KEY, original.version, &record(2)).await);
    assert_foreign(store.list("session", "ada").await);
    chown(&file, Some(0), None).expect("the owner can be changed");
    assert_eq!(load(&store, &KEY).await, original);
}

#[tokio::test]
async fn a_folder_of_another_user_or_a_link_to_a_folder_is_refused() {
    if !is_root() {
        return;
    }
    let (folder, path) = session_directory();
    let store = open(&path).await;
    let original = record(1).with_identity("ada");
    create(&store, &KEY, &original).await;
    let shard = path.join("ab");
    chown(&shard, Some(OTHER), None).expect("the owner can be changed");
    assert_foreign(store.update(&KEY, original.version, &record(2)).await);
    assert_foreign(store.list("session", "ada").await);
    assert_foreign(store.delete_expired(1).await);
    assert_config(&open_error(&path).await, "contains a file or folder of another user: empty the directory");
    chown(&shard, Some(0), None).expect("the owner can be changed");

    let moved = folder.path().join("moved");
    fs::rename(&shard, &moved).expect("the rename succeeds");
    symlink(&moved, &shard).expect("the link can be created");
    let error = store.list("session", "ada").await.expect_err("the path is a link");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(store.update(&KEY, original.version, &record(2)).await.is_err());
    fs::remove_file(&shard).expect("the removal succeeds");
    fs::rename(&moved, &shard).expect("the rename succeeds");
    assert_eq!(load(&store, &KEY).await, original);
}
