//! The library's warnings and errors, on standard error.

use std::io::{Write, stderr};

use log::{LevelFilter, Log, Metadata, Record};

struct Lines;

static LINES: Lines = Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("session_rocket")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_lowercase();
            // If standard error cannot be written, a failure cannot be reported either.
            let _ = writeln!(stderr(), "{level}: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Prints what is logged from now on: warnings and errors, or, if `quiet`, errors.
pub(super) fn start(quiet: bool) {
    // This process sets no other logger.
    let _ = log::set_logger(&LINES);
    log::set_max_level(if quiet { LevelFilter::Error } else { LevelFilter::Warn });
}
