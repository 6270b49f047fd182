//! Generates completion scripts and manual pages from the definition of the arguments.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;
use session_rocket::{Error, ErrorKind, Result};

use super::args::Args;
use super::report::Report;

pub(super) fn completions(shell: Shell) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "session-rocket", &mut script);
    let script = String::from_utf8_lossy(&script).trim_end().to_owned();
    Report { json: json!({ "script": script }), text: script }
}

pub(super) fn manual_pages(directory: &Path) -> Result<Report> {
    let failed = |error| Error::with_source(ErrorKind::Unavailable, "cannot write the manual pages", error);
    clap_mangen::generate_to(Args::command(), directory).map_err(failed)?;
    let shown = directory.display().to_string();
    Ok(Report { text: format!("wrote the manual pages to {shown}"), json: json!({ "directory": shown }) })
}
