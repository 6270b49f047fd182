//! What a command prints.

use std::time::Duration;

use humantime::format_duration;
use serde_json::Value;
use session_rocket::store::mask_url;
use session_rocket::{Config, Timestamp};

/// The result of a successful command.
pub(super) struct Report {
    /// The text for people.
    pub text: String,
    /// The object for programs, which `--json` prints.
    pub json: Value,
}

/// Formats the time from `start` to `end` in whole days, or to the second if it is shorter than a day.
pub(super) fn age(start: Timestamp, end: Timestamp) -> String {
    let seconds = start.until(end).as_secs();
    match seconds / 86_400 {
        0 => format_duration(Duration::from_secs(seconds)).to_string(),
        days => count_of(days, "day", "days"),
    }
}

pub(super) fn count_of(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

pub(super) fn shown_url(config: &Config) -> String {
    mask_url(&config.store)
}
