//! The commands that work on a store.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, stderr};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use session_rocket::store::{Migrate, Stats, Store};
use session_rocket::{Clock, Config, Error, ErrorKind, Key, Result, SystemClock, Timestamp};

use super::args::StoreCommand;
use super::open::{open, open_with_cache, with_time_limit};
use super::report::{Report, age, count_of, shown_url};
use super::sessions;

/// The number of rows that one statement removes. It is limited because the site's writes wait for the statement.
const BATCH: u64 = 1000;

pub(super) async fn run(command: &StoreCommand, config: &Config, shows_progress: bool) -> Result<Report> {
    if config.is_in_memory() {
        let context = "this store exists only in the memory of the site's process: no other program can access it";
        return Err(Error::new(ErrorKind::Unsupported, context));
    }
    match command {
        StoreCommand::Migrate => migrate(config).await,
        StoreCommand::Check => check(config).await,
        StoreCommand::ClearExpired { limit } => clear_expired(config, limit.unwrap_or(u64::MAX), shows_progress).await,
        StoreCommand::Stats => stats(config).await,
        StoreCommand::List(user) => sessions::list(config, user).await,
        StoreCommand::Revoke { user, selection } => sessions::end(config, user, selection).await,
    }
}

async fn migrate(config: &Config) -> Result<Report> {
    let migrated = !config.is_sealed() && create_or_update(config).await?;
    let (store, has_table) = (shown_url(config), config.has_table());
    let text = match (has_table, migrated) {
        (true, true) => format!("the table `{}` in {store} is now up to date", config.table),
        (true, false) => format!("the table `{}` in {store} is already up to date", config.table),
        (false, true) => format!("created the session directory of {store}"),
        (false, false) => format!("{store} has no table: nothing to do"),
    };
    let table = has_table.then_some(&config.table);
    Ok(Report { text, json: json!({ "store": store, "table": table, "migrated": migrated }) })
}

/// Creates a missing store or table, and updates an old table. Returns whether anything changed.
async fn create_or_update(config: &Config) -> Result<bool> {
    let checked = open(config, Migrate::Check, false).await;
    if !config.has_table() && !config.store.starts_with("file:") {
        return checked.map(|_| false);
    }
    match checked {
        Ok(_) => Ok(false),
        // A second attempt would probably also fail after `timeout`.
        Err(error) if error.kind() == ErrorKind::Timeout => Err(error),
        Err(_) => open(config, Migrate::Auto, true).await.map(|_| true),
    }
}

async fn check(config: &Config) -> Result<Report> {
    let text = if config.is_sealed() {
        if config.secret_keys.is_empty() {
            log::warn!(target: "session_rocket", "no secret key is set, so each launch ends all sessions: set `secret_keys`");
        }
        "ready: each session is in its own cookie".to_owned()
    } else {
        let store = open_with_cache(config, Migrate::Check).await?;
        // No session has this key, so the store has nothing to send.
        with_time_limit(config.timeout, store.load(&Key::from_bytes([0; 32]))).await?;
        format!("ready: {}", shown_url(config))
    };
    let settings = serde_json::to_value(config)
        .map_err(|error| Error::with_source(ErrorKind::Config, "cannot show the configuration", error))?;
    let text = text + &setting_lines(&settings);
    Ok(Report { text, json: json!({ "store": shown_url(config), "ready": true, "settings": settings }) })
}

/// Formats one line per setting, in alphabetical order.
fn setting_lines(settings: &Value) -> String {
    // The order of a JSON object depends on a cargo feature of `serde_json` that any dependency can enable.
    let settings: BTreeMap<_, _> = settings.as_object().into_iter().flatten().collect();
    settings.into_iter().fold(String::new(), |mut lines, (key, value)| {
        let value = match value {
            Value::Null => "none".to_owned(),
            Value::String(text) => text.clone(),
            Value::Array(keys) => count_of(keys.len() as u64, "key", "keys"),
            Value::Number(bytes) if key == "max_size" => HumanBytes(bytes.as_u64().unwrap_or_default()).to_string(),
            other => other.to_string(),
        };
        // Writing to a string cannot fail.
        let _ = write!(lines, "\n{key:<24}{value}");
        lines
    })
}

async fn clear_expired(config: &Config, limit: u64, shows_progress: bool) -> Result<Report> {
    if config.is_sealed() {
        let json = json!({ "store": shown_url(config), "removed": 0 });
        return Ok(Report { text: "each session is in its own cookie: nothing to remove".to_owned(), json });
    }
    let store = open(config, Migrate::Off, false).await?;
    let bar = if shows_progress && stderr().is_terminal() {
        progress_bar(config, &*store, limit).await
    } else {
        ProgressBar::hidden()
    };
    let removed = remove(config, &*store, limit, &bar).await;
    bar.finish_and_clear();
    let removed = removed?;
    let text =
        format!("removed {}", count_of(removed, "expired session or tombstone", "expired sessions and tombstones"));
    Ok(Report { text, json: json!({ "store": shown_url(config), "removed": removed }) })
}

/// Removes expired entries in batches.
async fn remove(config: &Config, store: &dyn Store, limit: u64, bar: &ProgressBar) -> Result<u64> {
    let mut removed = 0;
    while removed < limit {
        let batch = u32::try_from(BATCH.min(limit - removed)).unwrap_or(u32::MAX);
        match with_time_limit(config.timeout, store.delete_expired(batch)).await {
            Ok(0) => break,
            Ok(number) => {
                removed += number;
                bar.inc(number);
            }
            Err(error) => return Err(with_progress(&error, removed)),
        }
    }
    Ok(removed)
}

/// Adds to an error the number of entries that were already removed.
fn with_progress(error: &Error, removed: u64) -> Error {
    Error::new(error.kind(), format!("{error:#} ({removed} entries were already removed)"))
}

/// Creates a progress bar on standard error. If the store cannot count its entries in time, the bar shows no total.
async fn progress_bar(config: &Config, store: &dyn Store, limit: u64) -> ProgressBar {
    let total = with_time_limit(config.timeout, store.stats()).await.ok().map(|stats| stats.expired.min(limit));
    let style = match total {
        Some(_) => ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len}  {per_sec}  {eta} left"),
        None => ProgressStyle::with_template("{spinner} {human_pos}  {per_sec}"),
    };
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

async fn stats(config: &Config) -> Result<Report> {
    if config.is_sealed() {
        let context = "each session is in its own cookie: there is nothing to count";
        return Err(Error::new(ErrorKind::Unsupported, context));
    }
    let store = open(config, Migrate::Off, false).await?;
    let stats = with_time_limit(config.timeout, store.stats()).await?;
    let now = SystemClock.now();
    Ok(Report { text: stats_text(&stats, now), json: stats_json(&stats, now, shown_url(config)) })
}

fn stats_text(stats: &Stats, now: Timestamp) -> String {
    let Stats { live, tombstones, expired, bytes, oldest, .. } = stats;
    let size = HumanBytes(*bytes);
    let ago = |oldest: Timestamp| format!("{oldest} ({} ago)", age(oldest, now));
    let oldest = oldest.map_or("none".to_owned(), ago);
    format!(
        "live        {live}\ntombstones  {tombstones}\nexpired     {expired}\nsize        {size}\noldest      {oldest}"
    )
}

fn stats_json(stats: &Stats, now: Timestamp, store: String) -> Value {
    let Stats { live, tombstones, expired, bytes, oldest, .. } = stats;
    json!({
        "store": store,
        "live": live,
        "tombstones": tombstones,
        "expired": expired,
        "bytes": bytes,
        "oldest": oldest,
        "oldest_seconds": oldest.map(|oldest| oldest.until(now).as_secs()),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_time_is_shown_as_an_age() {
        let moment = at(1_763_734_205_999);
        let ago = |seconds: u64| age(moment, moment.plus(Duration::from_secs(seconds)));
        assert_eq!([ago(0), ago(61), ago(86_399), ago(90_000)], ["0s", "1m 1s", "23h 59m 59s", "1 day"]);
        assert_eq!(age(moment, at(0)), "0s", "the clock went backwards");
    }

    #[test]
    fn sizes_and_missing_values_are_readable() {
        let mut stats = Stats::default();
        stats.bytes = 493_200;
        assert!(stats_text(&stats, at(0)).contains("size        481.64 KiB\n"), "{}", stats_text(&stats, at(0)));
        let lines =
            setting_lines(&json!({ "max_size": 262_144, "cache": null, "secret_keys": ["***"], "expiry": "14 days" }));
        for line in
            ["max_size                256.00 KiB", "secret_keys             1 key", "cache                   none"]
        {
            assert!(lines.contains(line), "{lines}");
        }
    }

    #[test]
    fn a_failure_says_how_many_entries_were_removed() {
        let cause = Error::with_source(ErrorKind::Unavailable, "cannot remove", "disconnected");
        let error = with_progress(&cause, 2000);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), "cannot remove: disconnected (2000 entries were already removed)");
    }

    #[tokio::test]
    async fn a_call_without_a_reply_times_out() {
        let error = with_time_limit(Duration::from_millis(1), std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("1ms") && error.to_string().contains("--timeout"), "{error}");
    }
}
