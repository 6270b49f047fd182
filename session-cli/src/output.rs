//! Prints results and errors, and chooses the exit code.

use std::ffi::OsString;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use serde_json::json;
use session_rocket::store::mask_url;
use session_rocket::{ErrorKind, Result};

use super::args::Options;
use super::report::Report;

const FAILED: u8 = 1;
const INVALID: u8 = 2;
const UNSUPPORTED: u8 = 3;
const NOT_FOUND: u8 = 4;

pub(super) fn print_result(result: &Result<Report>, options: &Options) -> ExitCode {
    match result {
        Ok(report) if options.json => print(&report.json.to_string(), 0),
        Ok(_) if options.quiet => ExitCode::SUCCESS,
        Ok(report) => print(&report.text, 0),
        Err(error) => {
            let (kind, code) = kind_and_code(error.kind());
            let message = format!("{error:#}");
            if options.json {
                print(&error_json(kind, &message), code)
            } else {
                print_error(&format!("error: {message}"), code)
            }
        }
    }
}

/// Prints the error in the arguments, or the requested help.
pub(super) fn print_usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let text = mask_arguments(error.render().to_string(), arguments);
    let text = text.trim_end();
    if !error.use_stderr() {
        return print(text, 0);
    }
    if arguments.iter().any(|argument| argument == "--json") {
        return print(&error_json("usage", text.strip_prefix("error: ").unwrap_or(text)), INVALID);
    }
    print_error(text, INVALID)
}

/// Returns the name of an error's kind in JSON, and the exit code.
fn kind_and_code(kind: ErrorKind) -> (&'static str, u8) {
    match kind {
        ErrorKind::Config => ("config", INVALID),
        ErrorKind::Unsupported => ("unsupported", UNSUPPORTED),
        ErrorKind::Timeout => ("timeout", FAILED),
        // No live session has the handle.
        ErrorKind::Ended => ("not_found", NOT_FOUND),
        _ => ("unavailable", FAILED),
    }
}

fn error_json(kind: &str, message: &str) -> String {
    json!({ "error": { "kind": kind, "message": message } }).to_string()
}

fn print_error(text: &str, code: u8) -> ExitCode {
    // If printing fails, the exit code still reports the error.
    let _ = writeln!(stderr(), "{text}");
    ExitCode::from(code)
}

/// Prints to standard output. If printing fails, the exit code is at least [`FAILED`].
fn print(text: &str, code: u8) -> ExitCode {
    let printed = writeln!(stdout(), "{text}");
    ExitCode::from(if printed.is_ok() { code } else { code.max(FAILED) })
}

/// Masks secrets in Clap's messages, because a message may repeat an argument that is a URL with a password.
fn mask_arguments(text: String, arguments: &[OsString]) -> String {
    let arguments = arguments.iter().filter_map(|argument| argument.to_str());
    let parts =
        arguments.flat_map(|argument| [argument, argument.split_once('=').map_or(argument, |(_, value)| value)]);
    parts.fold(text, |text, part| text.replace(part, &mask_url(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_repeats_an_argument_masks_its_password() {
        let arguments =
            ["stats", "--x=postgres://me:secret@host/x", "redis://:secret@host?pass=secret"].map(OsString::from);
        let text = "no `postgres://me:secret@host/x`, no `redis://:secret@host?pass=secret`, no stats";
        let masked = "no `postgres://me:***@host/x`, no `redis://:***@host?pass=***`, no stats";
        assert_eq!(mask_arguments(text.to_owned(), &arguments), masked);
    }
}
