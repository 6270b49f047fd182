//! What is logged, kept for tests to look at.

use std::sync::{Mutex, PoisonError};

struct Kept(Mutex<Vec<String>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {} {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

/// Keeps all that is logged from now on. Call it before Rocket is built: Rocket leaves another's logger in place.
pub fn keep() {
    // Another test of the same process may have come first: then it is done.
    let _ = log::set_logger(&KEPT);
    log::set_max_level(log::LevelFilter::Trace);
}

/// The lines kept so far that contain `text`.
pub fn with(text: &str) -> Vec<String> {
    let lines = KEPT.0.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.contains(text)).cloned().collect()
}
