//! Captures log lines, so that tests can check them.

use std::sync::{Mutex, PoisonError};

struct CapturingLogger(Mutex<Vec<String>>);

static LOGGER: CapturingLogger = CapturingLogger(Mutex::new(Vec::new()));

impl log::Log for CapturingLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {} {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

/// Captures all log lines from now on. Call it before Rocket is built, because Rocket installs its own logger unless
/// there is another one.
pub fn capture() {
    // Another test of the same process may have installed the logger already.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(log::LevelFilter::Trace);
}

/// Returns the captured lines that contain `text`.
pub fn containing(text: &str) -> Vec<String> {
    let lines = LOGGER.0.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.contains(text)).cloned().collect()
}
