//! The program `session-rocket`, run as its users run it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use session_rocket::store::{Create, Lookup, Options, Store, open};
use session_rocket::{Clock, Key, Record, SystemClock, Timestamp, Tombstone, Version};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

/// What a run said and did.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// Ended with `code`, having said `says`.
    #[track_caller]
    fn is(&self, code: i32, says: &str) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        let text = if code == 0 { &self.out } else { &self.err };
        assert!(text.contains(says), "{text}");
    }
}

/// Runs the program in `directory`, with nothing in the environment but `session`.
fn run(directory: &Path, session: &str, words: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-rocket"));
    command.args(words).current_dir(directory).env_clear();
    if !session.is_empty() {
        command.env("ROCKET_SESSION", session);
    }
    let Output { status, stdout, stderr } = command.output().expect("a program that runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// A site's directory: a database `site.db`, named in `Rocket.toml`, with an application's table `school`.
fn site() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let toml = "[default.session]\nstore = \"sqlite://site.db\"\ntable = \"school\"\nmigrate = \"check\"\n";
    std::fs::write(directory.path().join("Rocket.toml"), toml).expect("a file");
    directory
}

/// A number as a key.
fn key(number: u32) -> Key {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Key::from_bytes(bytes)
}

fn before(duration: Duration) -> Timestamp {
    let millis = i64::try_from(duration.as_millis()).expect("a short time");
    Timestamp::from_millis(SystemClock.now().as_millis() - millis)
}

/// Puts sessions of ten bytes into `store`, whose keys begin with `first`.
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
fn a_table_is_made_checked_and_left_as_it_is() {
    let site = site();
    let ran = run(site.path(), "", &["check"]);
    ran.is(1, "session-rocket migrate");
    assert!(ran.out.is_empty());
    run(site.path(), "", &["migrate"]).is(0, "the table `school` in sqlite://site.db is now up to date");
    run(site.path(), "", &["migrate"]).is(0, "was up to date: nothing to do");
    run(site.path(), "", &["check"]).is(0, "ready: sqlite://site.db\nanonymous_expiry        off\n");
    run(site.path(), "", &["check"]).is(0, "\ncookie_name             sessionid\n");
    let found = run(site.path(), "", &["check", "--json"]).json();
    assert_eq!((&found["ready"], &found["store"]), (&json!(true), &json!("sqlite://site.db")));
    assert_eq!((&found["settings"]["expiry"], &found["settings"]["table"]), (&json!("14 days"), &json!("school")));
    // A file is there, and another table is not.
    for command in ["check", "stats", "clear-expired"] {
        run(site.path(), "", &[command, "--table", "other"]).is(2, "session-rocket migrate");
    }
    let migrated = json!({ "store": "sqlite://site.db", "table": "other", "migrated": true });
    assert_eq!(run(site.path(), "", &["--json", "migrate", "--table", "other"]).json(), migrated);
    let migrated = json!({ "store": "sqlite://site.db", "table": "other", "migrated": false });
    assert_eq!(run(site.path(), "", &["--json", "migrate", "--table", "other"]).json(), migrated);
}

/// The names of everything in the directory of a site.
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
            run(site.path(), "{migrate=\"auto\"}", &[command, "--store", url]).is(1, "is missing");
            let ran = run(site.path(), "", &[command, "--store", url, "--json"]);
            assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(1), &json!("unavailable")));
            assert_eq!(names(&site), ["Rocket.toml"], "{command} {url}");
        }
    }
    run(site.path(), "{cache=\"sqlite://cache.db\"}", &["migrate"]).is(0, "now up to date");
    let ran = run(site.path(), "{cache=\"sqlite://cache.db\"}", &["check"]);
    ran.is(0, "ready");
    assert!(ran.err.contains("cannot open `cache`") && ran.err.contains("cache.db` is missing"), "{}", ran.err);
    assert!(!names(&site).contains(&"cache.db".to_owned()));
}

#[cfg(all(feature = "file", unix))]
#[test]
fn a_missing_session_directory_is_reported_and_not_created() {
    use std::os::unix::fs::DirBuilderExt;

    let site = site();
    let within = |words: &[&str]| run(site.path(), "", &[words, &["--store", "file:sessions"]].concat());
    for command in ["check", "clear-expired", "stats"] {
        within(&[command]).is(1, "sessions` is missing: create it with `session-rocket migrate`");
        assert_eq!(within(&[command, "--json"]).json()["error"]["kind"], json!("unavailable"));
        assert_eq!(names(&site), ["Rocket.toml"], "{command}");
    }
    within(&["migrate"]).is(0, "created the session directory of file:sessions");
    within(&["migrate"]).is(0, "nothing to do");
    let sessions = site.path().join("sessions");
    within(&["check"]).is(0, "ready");
    within(&["stats"]).is(0, "live        0");
    // An empty directory, which only a launch prepares.
    std::fs::remove_dir_all(&sessions).expect("a directory");
    std::fs::DirBuilder::new().mode(0o700).create(&sessions).expect("a directory");
    for command in ["check", "clear-expired", "stats"] {
        assert_eq!(within(&[command]).code, Some(0), "{command}");
        assert_eq!(std::fs::read_dir(&sessions).expect("a directory").count(), 0, "{command}");
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_command_line_over_both() {
    let site = site();
    let exists = |name: &str| site.path().join(name).exists();
    run(site.path(), "{store=\"sqlite://environment.db\"}", &["migrate"]).is(0, "`school` in sqlite://environment.db");
    assert!(exists("environment.db") && !exists("site.db"));
    let session = "{store=\"sqlite://nowhere.db\"}";
    run(site.path(), session, &["--store", "sqlite://line.db", "migrate"]).is(0, "`school` in sqlite://line.db");
    assert!(exists("line.db") && !exists("nowhere.db") && !exists("site.db"));
    let toml = "[default.admin]\nstore = \"sqlite://admin.db\"\n[strict.session]\nstore = \"sqlite://strict.db\"\n";
    std::fs::write(site.path().join("Rocket.toml"), toml).expect("a file");
    run(site.path(), "", &["migrate", "--config", "admin"]).is(0, "`rocket_session` in sqlite://admin.db");
    run(site.path(), "", &["migrate", "--profile", "strict"]).is(0, "sqlite://strict.db");
    run(site.path(), "", &["migrate", "--config", "admim"]).is(2, "`admim`");
}

#[tokio::test]
async fn what_expired_is_removed_in_batches_and_what_lives_is_not() {
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
    run(site.path(), "", &["stats"]).is(0, "expired     2500\n");

    run(site.path(), "", &["clear-expired", "--limit", "1200"]).is(0, "removed 1200 expired");
    let removed = run(site.path(), "", &["clear-expired", "--json"]).json();
    assert_eq!(removed, json!({ "store": "sqlite://site.db", "removed": 1300 }));
    let ran = run(site.path(), "", &["clear-expired", "--quiet"]);
    ran.is(0, "");
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));

    let stats = store.stats().await.expect("stats");
    assert_eq!((stats.live, stats.tombstones, stats.expired, stats.bytes), (6, 1, 0, 60));
    assert!(matches!(store.load(&key(10_003)).await.expect("a load"), Lookup::Found(_)));
    assert!(matches!(store.load(&key(10_000)).await.expect("a load"), Lookup::Tombstone(_)));
}

#[test]
fn an_empty_table_has_no_oldest_session() {
    let site = site();
    run(site.path(), "", &["migrate"]).is(0, "");
    run(site.path(), "", &["stats"]).is(0, "oldest      none\n");
    assert_eq!(run(site.path(), "", &["stats", "--json"]).json()["oldest"], Value::Null);
    run(site.path(), "", &["clear-expired"]).is(0, "removed 0 expired");
}

#[test]
fn sealed_cookies_have_a_configuration_and_nothing_else() {
    let site = site();
    for url in ["cookie+signed:", "cookie+encrypted:"] {
        let store = ["--store", url];
        run(site.path(), "", &[&["migrate"], &store[..]].concat()).is(0, "nothing to do");
        run(site.path(), "", &[&["clear-expired"], &store[..]].concat()).is(0, "nothing to remove");
        run(site.path(), "", &[&["stats"], &store[..]].concat()).is(3, "in its own cookie");
        let ran = run(site.path(), "", &[&["check", "--profile", "debug"], &store[..]].concat());
        ran.is(0, "ready: each session is in its own cookie\n");
        assert!(ran.err.contains("no secret key"), "{}", ran.err);
        run(site.path(), "", &[&["check", "--profile", "release"], &store[..]].concat()).is(2, "needs a key");
        let secret = "NDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU=";
        let keys = format!("{{secret_keys=[\"{secret}\"]}}");
        let ran = run(site.path(), &keys, &[&["check", "--profile", "release"], &store[..]].concat());
        ran.is(0, "secret_keys             1 key");
        assert!(!ran.out.contains(secret) && ran.err.is_empty(), "{}{}", ran.out, ran.err);
    }
}

#[test]
fn what_is_gone_with_its_process_is_refused() {
    let site = site();
    for url in ["memory:", "sqlite::memory:"] {
        for command in ["migrate", "check", "clear-expired", "stats"] {
            run(site.path(), "", &[command, "--store", url]).is(3, "in the memory of the site's process");
        }
        let ran = run(site.path(), "", &["stats", "--json", "--store", url]);
        assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(3), &json!("unsupported")));
    }
}

#[test]
fn what_is_said_wrongly_is_told_with_its_exit_code() {
    let site = site();
    run(site.path(), "", &[]).is(2, "Usage");
    run(site.path(), "", &["clear-expired", "--limit", "0"]).is(2, "--limit");
    run(site.path(), "", &["migrate", "--store", "sqlit://x"]).is(2, "unknown store `sqlit:`; did you mean `sqlite:`?");
    run(site.path(), "", &["stats", "--timeout", "soon"]).is(2, "`session.timeout` (in the command line)");
    run(site.path(), "{expires=\"1 hour\"}", &["migrate"]).is(2, "did you mean `expiry`?");
    run(site.path(), "", &["--help"]).is(0, "Exit codes:");
    let kind = |words: &[&str], code: i32| {
        let ran = run(site.path(), "", words);
        assert_eq!((ran.code, ran.err.as_str()), (Some(code), ""), "{words:?}");
        ran.json()["error"]["kind"].as_str().expect("a kind").to_owned()
    };
    assert_eq!(kind(&["--json", "clear"], 2), "usage");
    assert_eq!(kind(&["check", "--json", "--store", "sqlit://x"], 2), "config");
    std::fs::write(site.path().join("site.db"), "this is no database, but long enough to be taken for one".repeat(99))
        .expect("a file");
    assert_eq!(kind(&["check", "--json"], 1), "unavailable");
}

#[test]
fn a_password_is_not_repeated() {
    let site = site();
    let url = "postgres://user:secret@127.0.0.1:1/x";
    let session = format!("{{store=\"{url}\"}}");
    let mut runs: Vec<Ran> = ["migrate", "check", "clear-expired", "stats"]
        .iter()
        .flat_map(|command| [run(site.path(), &session, &[command]), run(site.path(), &session, &[command, "--json"])])
        .collect();
    let code = if cfg!(feature = "postgres") { 1 } else { 2 };
    assert!(runs.iter().all(|ran| ran.code == Some(code)), "{}", runs[0].err);
    // In the wrong place, and in a configuration that is none.
    let limit = format!("--limit={url}");
    runs.extend([vec![url], vec!["stats", url], vec!["clear-expired", &limit]].map(|words| {
        let ran = run(site.path(), "", &words);
        ran.is(2, "user:***@127.0.0.1");
        ran
    }));
    std::fs::write(site.path().join("Rocket.toml"), format!("[default.session]\nstore = \"{url}\n")).expect("a file");
    let unreadable = run(site.path(), "", &["check"]);
    unreadable.is(2, "Rocket.toml) cannot be read");
    runs.push(unreadable);
    runs.push(run(site.path(), &session[..session.len() - 1], &["check"]));
    for ran in runs {
        assert!(ran.code != Some(0));
        assert!(!ran.out.contains("secret") && !ran.err.contains("secret"), "{}{}", ran.out, ran.err);
    }
}

#[test]
fn where_the_store_is_is_told_without_its_secrets() {
    let site = site();
    let session = "{store=\"sqlite://site.db?vfs=unix\"}";
    for command in ["migrate", "check", "clear-expired", "stats"] {
        let found = run(site.path(), session, &[command, "--json"]).json();
        assert_eq!(found["store"], "sqlite://site.db?vfs=***", "{found}");
    }
}

/// One that takes connections, and never answers.
#[cfg(feature = "postgres")]
#[test]
fn a_server_that_does_not_answer_is_waited_for_no_longer_than_was_said() {
    let site = site();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("postgres://user:secret@{}/x", listener.local_addr().expect("an address"));
    let started = std::time::Instant::now();
    let ran = run(site.path(), "", &["check", "--json", "--timeout", "300 ms", "--store", &url]);
    assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(1), &json!("timeout")));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_shell_completes_every_command() {
    let site = site();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        run(site.path(), "", &["completions", shell]).is(0, "clear-expired");
    }
    run(site.path(), "", &["completions", "tcsh"]).is(2, "possible values: bash");
}

#[test]
fn each_command_has_a_manual_page() {
    let site = site();
    run(site.path(), "", &["man", "."]).is(0, "");
    let commands = ["", "-check", "-clear-expired", "-completions", "-man", "-migrate", "-stats"];
    let mut expected = commands.map(|command| format!("session-rocket{command}.1")).to_vec();
    expected.insert(0, "Rocket.toml".to_owned());
    assert_eq!(names(&site).iter().collect::<BTreeSet<_>>(), expected.iter().collect());
    let page = |command: &str| {
        let path = site.path().join(format!("session-rocket{command}.1"));
        std::fs::read_to_string(path).expect("a page")
    };
    assert!(page("").contains("Exit codes:") && page("").contains("session\\-rocket\\-check(1)"), "{}", page(""));
    assert!(page("-clear-expired").contains("\\-\\-limit"), "{}", page("-clear-expired"));
    run(site.path(), "", &["man", "nowhere"]).is(1, "cannot write the manual pages");
}
