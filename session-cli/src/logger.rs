//! Prints the library's warnings and errors on standard error.

use std::io::{Write, stderr};

use log::{LevelFilter, Log, Metadata, Record};

struct Logger;

static LOGGER: Logger = Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("session_rocket")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_lowercase();
            // A failure to write to standard error cannot be reported.
            let _ = writeln!(stderr(), "{level}: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Starts to print warnings and errors, or only errors if `quiet` is set.
pub(super) fn start(quiet: bool) {
    // This fails only if a logger is already set, and this program sets no other.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(if quiet { LevelFilter::Error } else { LevelFilter::Warn });
}
