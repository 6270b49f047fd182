//! What each command does.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::args::Command;
use crate::base::clock::Timestamp;
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::id::{Key, random_bytes};
use crate::store::scheme::{Scheme, is_in_memory};
use crate::store::{self, Migrate, Stats, Store, sweep};
use crate::web::config::{Settings, Text, masked};

/// What a command found, for people and for programs.
pub(super) struct Answer {
    pub text: String,
    pub facts: Value,
}

pub(super) async fn run(command: &Command, settings: &Settings, talkative: bool) -> Result<Answer> {
    if is_in_memory(&settings.store.url) {
        let context = "this store is in the memory of the site's process, and lost when the process ends: no other \
                       program can access it";
        return Err(Error::new(ErrorKind::Unsupported, context));
    }
    let mut settings = settings.clone();
    // A mistyped path is to be reported, and a directory or file under it would hide the mistake.
    settings.store.creates = matches!(command, Command::Migrate);
    match command {
        Command::Migrate => migrate(&settings).await,
        Command::Check => check(&settings).await,
        Command::ClearExpired { limit } => clear_expired(&settings, limit.unwrap_or(u64::MAX), talkative).await,
        Command::Stats => stats(&settings).await,
    }
}

async fn migrate(settings: &Settings) -> Result<Answer> {
    if settings.seal.is_some() || !settings.has_table() {
        return prepare(settings).await;
    }
    let migrated = match open(settings, Migrate::Check).await {
        Ok(_) => false,
        // A server that does not answer is not asked twice.
        Err(error) if error.kind() == ErrorKind::Timeout => return Err(error),
        Err(_) => {
            open(settings, Migrate::Auto).await?;
            true
        }
    };
    let table = &settings.store.table;
    let done = if migrated { "is now up to date" } else { "was up to date: nothing to do" };
    let text = format!("the table `{table}` in {} {done}", place(settings));
    Ok(Answer { text, facts: json!({ "store": place(settings), "table": table, "migrated": migrated }) })
}

/// Opens a store without a table, which creates a missing session directory.
async fn prepare(settings: &Settings) -> Result<Answer> {
    let mut existing = settings.clone();
    existing.store.creates = false;
    let is_directory = Scheme::of(&settings.store.url) == Some(Scheme::File);
    let created = is_directory && open(&existing, Migrate::Off).await.is_err();
    if settings.seal.is_none() {
        open(settings, Migrate::Auto).await?;
    }
    let store = place(settings);
    let text = if created {
        format!("created the session directory of {store}")
    } else {
        format!("{store} has no table: nothing to do")
    };
    Ok(Answer { text, facts: json!({ "store": store, "table": null, "migrated": created }) })
}

async fn check(settings: &Settings) -> Result<Answer> {
    match &settings.seal {
        Some(seal) if seal.random => {
            log::warn!(target: "session_rocket", "no secret key is set: each launch in this profile draws one of its own");
        }
        Some(_) => {}
        None => {
            let store = store::open(&settings.store.clone().migrate(Migrate::Check)).await?;
            // Nobody has this one: the answer is that there is none.
            let key = Key::from_bytes(random_bytes()?);
            within(settings.store.timeout, store.load(&key)).await?;
        }
    }
    let facts = json!({ "store": place(settings), "ready": true, "settings": settings.to_string() });
    Ok(Answer { text: format!("ready: {settings}"), facts })
}

async fn clear_expired(settings: &Settings, limit: u64, talkative: bool) -> Result<Answer> {
    if settings.seal.is_some() {
        let facts = json!({ "store": place(settings), "removed": 0 });
        return Ok(Answer { text: "each session is in its own cookie: nothing to remove".to_owned(), facts });
    }
    let store = open(settings, Migrate::Off).await?;
    let bar =
        if talkative && stderr().is_terminal() { bar(settings, &*store, limit).await } else { ProgressBar::hidden() };
    let delete = |batch| async {
        let removed = within(settings.store.timeout, batch).await?;
        bar.inc(removed);
        Ok(removed)
    };
    let (removed, ended) = sweep::in_batches(limit, |batch| delete(store.delete_expired(batch))).await;
    bar.finish_and_clear();
    ended.map_err(|error| after(removed, &error))?;
    let text =
        format!("removed {}", counted(removed, "expired session or tombstone", "expired sessions and tombstones"));
    Ok(Answer { text, facts: json!({ "store": place(settings), "removed": removed }) })
}

/// A bar on standard error. A store that cannot count, or takes too long to, leaves it without an end.
async fn bar(settings: &Settings, store: &dyn Store, limit: u64) -> ProgressBar {
    let total = within(settings.store.timeout, store.stats()).await.ok().map(|stats| stats.expired.min(limit));
    let style = match total {
        Some(_) => ProgressStyle::with_template("{wide_bar} {pos}/{len}"),
        None => ProgressStyle::with_template("{spinner} {pos}"),
    };
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// An error that came when some were removed already.
fn after(removed: u64, error: &Error) -> Error {
    Error::new(error.kind(), format!("{} ({removed} were removed before)", Chain(error)))
}

async fn stats(settings: &Settings) -> Result<Answer> {
    if settings.seal.is_some() {
        let context = "each session is in its own cookie: there is nothing to count";
        return Err(Error::new(ErrorKind::Unsupported, context));
    }
    let store = open(settings, Migrate::Off).await?;
    let stats = within(settings.store.timeout, store.stats()).await?;
    let now = settings.store.clock.now();
    Ok(Answer { text: table(&stats, now), facts: facts(&stats, now, place(settings)) })
}

fn table(stats: &Stats, now: Timestamp) -> String {
    let Stats { live, tombstones, expired, bytes, oldest } = stats;
    let oldest = oldest.map_or("none".to_owned(), |oldest| format!("{} ({} ago)", date(oldest), age(oldest, now)));
    format!(
        "live        {live}\ntombstones  {tombstones}\nexpired     {expired}\nbytes       {bytes}\noldest      {oldest}"
    )
}

fn facts(stats: &Stats, now: Timestamp, store: String) -> Value {
    let Stats { live, tombstones, expired, bytes, oldest } = stats;
    json!({
        "store": store,
        "live": live,
        "tombstones": tombstones,
        "expired": expired,
        "bytes": bytes,
        "oldest": oldest.map(date),
        "oldest_seconds": oldest.map(|oldest| oldest.until(now).as_secs()),
    })
}

/// As RFC 3339 writes it, to the second.
fn date(moment: Timestamp) -> String {
    let date = moment.to_date();
    let (year, month, day) = date.to_calendar_date();
    let (hour, minute, second) = date.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
}

/// In whole days, or what there is of the first one.
fn age(oldest: Timestamp, now: Timestamp) -> Text {
    const DAY: u64 = 86_400;
    let seconds = oldest.until(now).as_secs();
    Text(Duration::from_secs(if seconds < DAY { seconds } else { seconds - seconds % DAY }))
}

fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Opens the store itself: a cache in front of it takes no part in what is done here.
async fn open(settings: &Settings, migrate: Migrate) -> Result<Arc<dyn Store>> {
    let mut options = settings.store.clone().migrate(migrate);
    options.cache = None;
    store::open(&options).await
}

/// Waits for a call for as long as one may take.
async fn within<A>(limit: Duration, call: impl Future<Output = Result<A>>) -> Result<A> {
    let late = || {
        let context = format!("the store did not answer within {}: allow it more with `--timeout`", Text(limit));
        Err(Error::new(ErrorKind::Timeout, context))
    };
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| late())
}

fn place(settings: &Settings) -> String {
    masked(&settings.store.url)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_moment_is_a_date_and_an_age() {
        let moment = at(1_763_734_205_999);
        assert_eq!(date(moment), "2025-11-21T14:10:05Z");
        assert_eq!(date(at(-1)), "1969-12-31T23:59:59Z");
        let ago = |seconds: u64| age(moment, moment.plus(Duration::from_secs(seconds))).to_string();
        assert_eq!([ago(0), ago(61), ago(86_399), ago(90_000)], ["0s", "1m 1s", "23h 59m 59s", "1 day"]);
        assert_eq!(age(moment, at(0)).to_string(), "0s", "of a clock that goes wrong");
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_not_waited_for() {
        let error = within(Duration::from_millis(1), std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("1ms") && error.to_string().contains("--timeout"), "{error}");
    }

    #[test]
    fn a_failure_says_what_was_done_before() {
        let cause = Error::with_source(ErrorKind::Unavailable, "cannot sweep", "it is gone");
        let error = after(2000, &cause);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), "cannot sweep: it is gone (2000 were removed before)");
    }
}
