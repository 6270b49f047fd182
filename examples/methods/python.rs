//! Formats values as Python prints them.

use serde_json::{Map, Value};
use session_rocket::time::OffsetDateTime;

/// Formats `list(session.keys())`.
pub fn list(keys: &[String]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| string(key)).collect();
    format!("[{}]", keys.join(", "))
}

/// Formats `dict(session.items())`, in the order of the keys.
pub fn dict(keys: &[String], items: &Map<String, Value>) -> String {
    let entries = keys.iter().filter_map(|key| items.get(key).map(|value| (key, value)));
    let items: Vec<String> = entries.map(|(key, value)| format!("{}: {}", string(key), literal(value))).collect();
    format!("{{{}}}", items.join(", "))
}

/// Formats a date and time in UTC, to the second.
pub fn datetime(at: OffsetDateTime) -> String {
    format!("{} {:02}:{:02}:{:02}+00:00", at.date(), at.hour(), at.minute(), at.second())
}

/// This site stores only strings and booleans.
fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        other => other.to_string(),
    }
}

fn string(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}
