//! Captures log lines, so that tests can check them.

use std::sync::{Mutex, Once, PoisonError};

use rocket::figment::Provider;
use rocket::{Build, Rocket};

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

/// Builds a Rocket with this configuration, and captures all log lines of the process from now on.
///
/// Tests that read log lines build every Rocket with this function, because the first Rocket of a process installs its
/// own logger unless there is another one.
#[must_use]
pub fn rocket(config: impl Provider) -> Rocket<Build> {
    capture();
    rocket::custom(config)
}

/// Captures all log lines of the process from now on. Only a test without a Rocket has to call it.
///
/// # Panics
/// If another logger is installed.
pub fn capture() {
    static CAPTURE: Once = Once::new();
    CAPTURE.call_once(|| {
        log::set_logger(&LOGGER).expect("every Rocket of this process is built with `logs::rocket`");
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Returns the captured lines that contain `text`.
pub fn containing(text: &str) -> Vec<String> {
    let lines = LOGGER.0.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.contains(text)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Returns the source text of a test target, which is a file or a folder.
    fn source(target: &Path) -> String {
        if target.is_file() {
            return fs::read_to_string(target).expect("the file can be read");
        }
        let files = fs::read_dir(target).expect("the folder can be read");
        files.map(|file| source(&file.expect("the folder can be read").path())).collect()
    }

    /// With a Rocket of another kind, the assertions of a target would depend on the order of its tests.
    #[test]
    fn every_target_that_reads_log_lines_builds_its_rockets_with_logs_rocket() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let mut readers = 0;
        for target in fs::read_dir(folder).expect("the folder of the tests can be read") {
            let target = target.expect("the folder of the tests can be read").path();
            let source = source(&target);
            if source.contains("logs::containing(") {
                readers += 1;
                for call in ["ocket::custom(", "ocket::build("] {
                    assert!(!source.contains(call), "{} contains `{call}`: call `logs::rocket`", target.display());
                }
            }
        }
        assert!(readers > 10, "only {readers} targets read log lines");
    }
}
