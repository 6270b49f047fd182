//! What is printed, and the exit code.

use std::ffi::OsString;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use serde_json::json;

use super::args::Options;
use super::commands::Answer;
use crate::base::error::{Chain, ErrorKind, Result};
use crate::web::config::masked;

const FAILED: u8 = 1;
const WRONG: u8 = 2;
const UNSUPPORTED: u8 = 3;

/// Tells what a command came to.
pub(super) fn outcome(outcome: &Result<Answer>, options: &Options) -> ExitCode {
    match outcome {
        Ok(answer) if options.json => print(&answer.facts.to_string(), 0),
        Ok(_) if options.quiet => ExitCode::SUCCESS,
        Ok(answer) => print(&answer.text, 0),
        Err(error) => {
            let (kind, code) = class(error.kind());
            let message = Chain(error).to_string();
            if options.json {
                print(&failure(kind, &message), code)
            } else {
                complain(&format!("error: {message}"), code)
            }
        }
    }
}

/// Tells what is wrong with `words`, or what they ask about this program.
pub(super) fn usage(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let text = hide(error.render().to_string(), words);
    let text = text.trim_end();
    if !error.use_stderr() {
        return print(text, 0);
    }
    if words.iter().any(|word| word == "--json") {
        return print(&failure("usage", text.strip_prefix("error: ").unwrap_or(text)), WRONG);
    }
    complain(text, WRONG)
}

/// How an error is called, and its exit code.
fn class(kind: ErrorKind) -> (&'static str, u8) {
    match kind {
        ErrorKind::Config => ("config", WRONG),
        ErrorKind::Unsupported => ("unsupported", UNSUPPORTED),
        ErrorKind::Timeout => ("timeout", FAILED),
        _ => ("unavailable", FAILED),
    }
}

fn failure(kind: &str, message: &str) -> String {
    json!({ "error": { "kind": kind, "message": message } }).to_string()
}

/// Prints a text on standard error.
fn complain(text: &str, code: u8) -> ExitCode {
    // The exit code still tells, where nobody can be told.
    let _ = writeln!(stderr(), "{text}");
    ExitCode::from(code)
}

/// Prints a text on standard output. One that cannot be printed is a failure.
fn print(text: &str, code: u8) -> ExitCode {
    let printed = writeln!(stdout(), "{text}");
    ExitCode::from(if printed.is_ok() { code } else { code.max(FAILED) })
}

/// Clap's messages repeat what was said, which may be a URL in the wrong place.
fn hide(text: String, words: &[OsString]) -> String {
    let words = words.iter().filter_map(|word| word.to_str());
    let parts = words.flat_map(|word| [word, word.split_once('=').map_or(word, |(_, value)| value)]);
    parts.fold(text, |text, part| text.replace(part, &masked(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_repeats_what_was_said_hides_its_password() {
        let words =
            ["stats", "--x=postgres://me:secret@host/x", "redis://:secret@host?pass=secret"].map(OsString::from);
        let text = "no `postgres://me:secret@host/x`, no `redis://:secret@host?pass=secret`, no stats";
        let hidden = "no `postgres://me:***@host/x`, no `redis://:***@host?pass=***`, no stats";
        assert_eq!(hide(text.to_owned(), &words), hidden);
    }
}
