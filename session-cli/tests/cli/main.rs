//! Runs the program `session-rocket` as a user does.

mod sessions;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use session_rocket::store::{Create, Lookup, Options, Store, open};
use session_rocket::{Clock, Key, Record, SystemClock, Timestamp, Tombstone, Version};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

/// The exit code and output of a run.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// Asserts the exit code, and that the output (or the error, if `code` is not 0) contains `expected`.
    #[track_caller]
    fn expect(&self, code: i32, expected: &str) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        let text = if code == 0 { &self.out } else { &self.err };
        assert!(text.contains(expected), "{text}");
    }
}

/// Runs the program in `directory`. The environment has only `ROCKET_SESSION`, unless `session` is empty.
fn run(directory: &Path, session: &str, arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-rocket"));
    command.args(arguments).current_dir(directory).env_clear();
    if !session.is_empty() {
        command.env("ROCKET_SESSION", session);
    }
    let Output { status, stdout, stderr } = command.output().expect("a program that runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Run { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// A site's directory with a `Rocket.toml` that names the database `site.db` and the table `school`.
fn site() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let toml = "[default.session]\nstore = \"sqlite://site.db\"\ntable = \"school\"\nmigrate = \"check\"\n";
    std::fs::write(directory.path().join("Rocket.toml"), toml).expect("a file");
    directory
}

/// The key made of a number.
fn key(number: u32) -> Key {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Key::from_bytes(bytes)
}

fn before(duration: Duration) -> Timestamp {
    let millis = i64::try_from(duration.as_millis()).expect("a short time");
    Timestamp::from_millis(SystemClock.now().as_millis() - millis)
}

/// Creates sessions of ten bytes, with the keys `first`, `first + 1` and so on.
async fn fill(store: &dyn Store, first: u32, number: u32, created_at: Timestamp, expires_at: Timestamp) {
    for number in first..first + number {
        let record = Record::new(Version::from_bits(1), expires_at)
            .with_scope("session")
            .with_payload("0123456789")
            .with_times(created_at, created_at);
        assert_eq!(store.create(&key(number), &record).await.expect("a create"), Create::Created);
    }
}

#[test]
fn migrate_creates_a_table_once_and_check_accepts_it() {
    let site = site();
    let result = run(site.path(), "", &["check"]);
    result.expect(1, "session-rocket migrate");
    assert!(result.out.is_empty());
    run(site.path(), "", &["migrate"]).expect(0, "the table `school` in sqlite://site.db is now up to date");
    run(site.path(), "", &["migrate"]).expect(0, "is already up to date");
    run(site.path(), "", &["check"]).expect(0, "ready: sqlite://site.db\nanonymous_expiry        off\n");
    run(site.path(), "", &["check"]).expect(0, "\ncookie_name             sessionid\n");
    let found = run(site.path(), "", &["check", "--json"]).json();
    assert_eq!((&found["ready"], &found["store"]), (&json!(true), &json!("sqlite://site.db")));
    assert_eq!((&found["settings"]["expiry"], &found["settings"]["table"]), (&json!("14 days"), &json!("school")));
    // The file exists, but the other table does not.
    for command in ["check", "stats", "clear-expired"] {
        run(site.path(), "", &[command, "--table", "other"]).expect(2, "session-rocket migrate");
    }
    let migrated = json!({ "store": "sqlite://site.db", "table": "other", "migrated": true });
    assert_eq!(run(site.path(), "", &["--json", "migrate", "--table", "other"]).json(), migrated);
    let migrated = json!({ "store": "sqlite://site.db", "table": "other", "migrated": false });
    assert_eq!(run(site.path(), "", &["--json", "migrate", "--table", "other"]).json(), migrated);
}

/// The sorted names of the files in a site's directory.
fn names(site: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(site.path()).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}

#[test]
fn a_missing_sqlite_file_is_reported_and_not_created() {
    let site = site();
    for url in ["sqlite://mistyped.db", "sqlite:mistyped.db?mode=rwc", "sqlite://mistyped/site.db"] {
        for command in ["check", "clear-expired", "stats"] {
            run(site.path(), "{migrate=\"auto\"}", &[command, "--store", url]).expect(1, "is missing");
            let result = run(site.path(), "", &[command, "--store", url, "--json"]);
            assert_eq!((result.code, &result.json()["error"]["kind"]), (Some(1), &json!("unavailable")));
            assert_eq!(names(&site), ["Rocket.toml"], "{command} {url}");
        }
    }
    run(site.path(), "{cache=\"sqlite://cache.db\"}", &["migrate"]).expect(0, "now up to date");
    let result = run(site.path(), "{cache=\"sqlite://cache.db\"}", &["check"]);
    result.expect(0, "ready");
    assert!(
        result.err.contains("cannot open `cache`") && result.err.contains("cache.db` is missing"),
        "{}",
        result.err
    );
    assert!(!names(&site).contains(&"cache.db".to_owned()));
}

#[cfg(all(feature = "file", unix))]
#[test]
fn a_missing_session_directory_is_reported_and_not_created() {
    use std::os::unix::fs::DirBuilderExt;

    let site = site();
    let within = |arguments: &[&str]| run(site.path(), "", &[arguments, &["--store", "file:sessions"]].concat());
    for command in ["check", "clear-expired", "stats"] {
        within(&[command]).expect(1, "sessions` is missing: run `session-rocket migrate`");
        assert_eq!(within(&[command, "--json"]).json()["error"]["kind"], json!("unavailable"));
        assert_eq!(names(&site), ["Rocket.toml"], "{command}");
    }
    within(&["migrate"]).expect(0, "created the session directory of file:sessions");
    within(&["migrate"]).expect(0, "nothing to do");
    let sessions = site.path().join("sessions");
    within(&["check"]).expect(0, "ready");
    within(&["stats"]).expect(0, "live        0");
    // Only a launch prepares an empty directory.
    std::fs::remove_dir_all(&sessions).expect("a directory");
    std::fs::DirBuilder::new().mode(0o700).create(&sessions).expect("a directory");
    for command in ["check", "clear-expired", "stats"] {
        assert_eq!(within(&[command]).code, Some(0), "{command}");
        assert_eq!(std::fs::read_dir(&sessions).expect("a directory").count(), 0, "{command}");
    }
}

#[test]
fn the_environment_overrides_the_file_and_the_command_line_overrides_both() {
    let site = site();
    let exists = |name: &str| site.path().join(name).exists();
    run(site.path(), "{store=\"sqlite://environment.db\"}", &["migrate"])
        .expect(0, "`school` in sqlite://environment.db");
    assert!(exists("environment.db") && !exists("site.db"));
    let session = "{store=\"sqlite://nowhere.db\"}";
    run(site.path(), session, &["--store", "sqlite://line.db", "migrate"]).expect(0, "`school` in sqlite://line.db");
    assert!(exists("line.db") && !exists("nowhere.db") && !exists("site.db"));
    let toml = "[default.admin]\nstore = \"sqlite://admin.db\"\n[strict.session]\nstore = \"sqlite://strict.db\"\n";
    std::fs::write(site.path().join("Rocket.toml"), toml).expect("a file");
    run(site.path(), "", &["migrate", "--config", "admin"]).expect(0, "`rocket_session` in sqlite://admin.db");
    run(site.path(), "", &["migrate", "--profile", "strict"]).expect(0, "sqlite://strict.db");
    run(site.path(), "", &["migrate", "--config", "admim"]).expect(2, "`admim`");
}

#[tokio::test]
async fn clear_expired_removes_expired_entries_in_batches_and_keeps_live_sessions() {
    let site = site();
    let url = format!("sqlite://{}?synchronous=normal", site.path().join("site.db").display());
    let store = open(&Options::new(url).table("school")).await.expect("a store");
    let (past, soon) = (before(HOUR), SystemClock.now().plus(HOUR));
    fill(&*store, 0, 2500, before(2 * HOUR), past).await;
    fill(&*store, 10_000, 7, past, soon).await;
    let retired = Tombstone::ended(soon);
    store.retire(&key(10_000), None, retired).await.expect("a tombstone");

    let found = run(site.path(), "", &["stats", "--json"]).json();
    let numbers = ["live", "tombstones", "expired", "bytes"].map(|name| found[name].as_u64().expect("a number"));
    assert_eq!(numbers, [6, 1, 2500, 25_060]);
    let age = found["oldest_seconds"].as_u64().expect("a number");
    assert!((3600..3700).contains(&age), "{age}");
    run(site.path(), "", &["stats"]).expect(0, "expired     2500\n");

    run(site.path(), "", &["clear-expired", "--limit", "1200"]).expect(0, "removed 1200 expired");
    let removed = run(site.path(), "", &["clear-expired", "--json"]).json();
    assert_eq!(removed, json!({ "store": "sqlite://site.db", "removed": 1300 }));
    let result = run(site.path(), "", &["clear-expired", "--quiet"]);
    result.expect(0, "");
    assert_eq!((result.out.as_str(), result.err.as_str()), ("", ""));

    let stats = store.stats().await.expect("stats");
    assert_eq!((stats.live, stats.tombstones, stats.expired, stats.bytes), (6, 1, 0, 60));
    assert!(matches!(store.load(&key(10_003)).await.expect("a load"), Lookup::Found(_)));
    assert!(matches!(store.load(&key(10_000)).await.expect("a load"), Lookup::Tombstone(_)));
}

#[test]
fn an_empty_table_has_no_oldest_session() {
    let site = site();
    run(site.path(), "", &["migrate"]).expect(0, "");
    run(site.path(), "", &["stats"]).expect(0, "oldest      none\n");
    assert_eq!(run(site.path(), "", &["stats", "--json"]).json()["oldest"], Value::Null);
    run(site.path(), "", &["clear-expired"]).expect(0, "removed 0 expired");
}

#[test]
fn sealed_cookies_have_only_a_configuration_to_check() {
    let site = site();
    for url in ["cookie+signed:", "cookie+encrypted:"] {
        let store = ["--store", url];
        run(site.path(), "", &[&["migrate"], &store[..]].concat()).expect(0, "nothing to do");
        run(site.path(), "", &[&["clear-expired"], &store[..]].concat()).expect(0, "nothing to remove");
        run(site.path(), "", &[&["stats"], &store[..]].concat()).expect(3, "in its own cookie");
        let result = run(site.path(), "", &[&["check", "--profile", "debug"], &store[..]].concat());
        result.expect(0, "ready: each session is in its own cookie\n");
        assert!(result.err.contains("no secret key"), "{}", result.err);
        run(site.path(), "", &[&["check", "--profile", "release"], &store[..]].concat()).expect(2, "needs a key");
        let secret = "NDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU=";
        let keys = format!("{{secret_keys=[\"{secret}\"]}}");
        let result = run(site.path(), &keys, &[&["check", "--profile", "release"], &store[..]].concat());
        result.expect(0, "secret_keys             1 key");
        assert!(!result.out.contains(secret) && result.err.is_empty(), "{}{}", result.out, result.err);
    }
}

#[test]
fn no_command_supports_a_store_in_memory() {
    let site = site();
    for url in ["memory:", "sqlite::memory:"] {
        for command in ["migrate", "check", "clear-expired", "stats"] {
            run(site.path(), "", &[command, "--store", url]).expect(3, "in the memory of the site's process");
        }
        let result = run(site.path(), "", &["stats", "--json", "--store", url]);
        assert_eq!((result.code, &result.json()["error"]["kind"]), (Some(3), &json!("unsupported")));
    }
}

#[test]
fn each_invalid_command_line_or_configuration_has_a_message_and_an_exit_code() {
    let site = site();
    run(site.path(), "", &[]).expect(2, "Usage");
    run(site.path(), "", &["clear-expired", "--limit", "0"]).expect(2, "--limit");
    run(site.path(), "", &["migrate", "--store", "sqlit://x"])
        .expect(2, "unknown store `sqlit:`; did you mean `sqlite:`?");
    run(site.path(), "", &["stats", "--timeout", "soon"]).expect(2, "`session.timeout` (in the command line)");
    run(site.path(), "{expires=\"1 hour\"}", &["migrate"]).expect(2, "did you mean `expiry`?");
    run(site.path(), "", &["--help"]).expect(0, "Exit codes:");
    let kind = |arguments: &[&str], code: i32| {
        let result = run(site.path(), "", arguments);
        assert_eq!((result.code, result.err.as_str()), (Some(code), ""), "{arguments:?}");
        result.json()["error"]["kind"].as_str().expect("a kind").to_owned()
    };
    assert_eq!(kind(&["--json", "clear"], 2), "usage");
    assert_eq!(kind(&["check", "--json", "--store", "sqlit://x"], 2), "config");
    std::fs::write(site.path().join("site.db"), "not a database, but long enough to be taken for one".repeat(99))
        .expect("a file");
    assert_eq!(kind(&["check", "--json"], 1), "unavailable");
}

#[test]
fn no_output_contains_a_password() {
    let site = site();
    let url = "postgres://user:secret@127.0.0.1:1/x";
    let session = format!("{{store=\"{url}\"}}");
    let mut runs: Vec<Run> = ["migrate", "check", "clear-expired", "stats"]
        .iter()
        .flat_map(|command| [run(site.path(), &session, &[command]), run(site.path(), &session, &[command, "--json"])])
        .collect();
    let code = if cfg!(feature = "postgres") { 1 } else { 2 };
    assert!(runs.iter().all(|result| result.code == Some(code)), "{}", runs[0].err);
    // A URL in the wrong position, and an invalid configuration.
    let limit = format!("--limit={url}");
    runs.extend([vec![url], vec!["stats", url], vec!["clear-expired", &limit]].map(|arguments| {
        let result = run(site.path(), "", &arguments);
        result.expect(2, "user:***@127.0.0.1");
        result
    }));
    std::fs::write(site.path().join("Rocket.toml"), format!("[default.session]\nstore = \"{url}\n")).expect("a file");
    let unreadable = run(site.path(), "", &["check"]);
    unreadable.expect(2, "Rocket.toml) cannot be read");
    runs.push(unreadable);
    runs.push(run(site.path(), &session[..session.len() - 1], &["check"]));
    for result in runs {
        assert!(result.code != Some(0));
        assert!(!result.out.contains("secret") && !result.err.contains("secret"), "{}{}", result.out, result.err);
    }
}

#[test]
fn the_shown_url_of_the_store_has_no_secrets() {
    let site = site();
    let session = "{store=\"sqlite://site.db?vfs=unix\"}";
    for command in ["migrate", "check", "clear-expired", "stats"] {
        let found = run(site.path(), session, &[command, "--json"]).json();
        assert_eq!(found["store"], "sqlite://site.db?vfs=***", "{found}");
    }
}

/// The server accepts connections and never replies.
#[cfg(feature = "postgres")]
#[test]
fn timeout_limits_the_wait_for_a_server_that_does_not_reply() {
    let site = site();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("postgres://user:secret@{}/x", listener.local_addr().expect("an address"));
    let started = std::time::Instant::now();
    let session = "{timeout=\"2 minutes\"}";
    let result = run(site.path(), session, &["check", "--json", "--timeout", "300 ms", "--store", &url]);
    assert_eq!((result.code, &result.json()["error"]["kind"]), (Some(1), &json!("timeout")));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn completion_scripts_have_every_command() {
    let site = site();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        run(site.path(), "", &["completions", shell]).expect(0, "clear-expired");
    }
    run(site.path(), "", &["completions", "tcsh"]).expect(2, "possible values: bash");
}

#[test]
fn each_command_has_a_manual_page() {
    let site = site();
    run(site.path(), "", &["man", "."]).expect(0, "");
    let commands = ["", "-check", "-clear-expired", "-completions", "-list", "-man", "-migrate", "-revoke", "-stats"];
    let mut expected = commands.map(|command| format!("session-rocket{command}.1")).to_vec();
    expected.insert(0, "Rocket.toml".to_owned());
    assert_eq!(names(&site).iter().collect::<BTreeSet<_>>(), expected.iter().collect());
    let page = |command: &str| {
        let path = site.path().join(format!("session-rocket{command}.1"));
        std::fs::read_to_string(path).expect("a page")
    };
    assert!(page("").contains("Exit codes:") && page("").contains("session\\-rocket\\-check(1)"), "{}", page(""));
    assert!(page("-clear-expired").contains("\\-\\-limit"), "{}", page("-clear-expired"));
    run(site.path(), "", &["man", "nowhere"]).expect(1, "cannot write the manual pages");
}
