//! What is printed, and the exit code.

use std::ffi::OsString;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use serde_json::json;
use session_rocket::store::mask_url;
use session_rocket::{ErrorKind, Result};

use super::args::Options;
use super::commands::Answer;

const FAILED: u8 = 1;
const WRONG: u8 = 2;
const UNSUPPORTED: u8 = 3;

/// Prints the outcome of a command.
pub(super) fn outcome(outcome: &Result<Answer>, options: &Options) -> ExitCode {
    match outcome {
        Ok(answer) if options.json => print(&answer.facts.to_string(), 0),
        Ok(_) if options.quiet => ExitCode::SUCCESS,
        Ok(answer) => print(&answer.text, 0),
        Err(error) => {
            let (kind, code) = class(error.kind());
            let message = format!("{error:#}");
            if options.json {
                print(&failure(kind, &message), code)
            } else {
                complain(&format!("error: {message}"), code)
            }
        }
    }
}

/// Prints what is wrong with `words`, or the help that they ask for.
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

/// The name of an error's kind, and its exit code.
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
    // If nothing can be printed, the exit code still tells.
    let _ = writeln!(stderr(), "{text}");
    ExitCode::from(code)
}

/// Prints a text on standard output; to be unable to is a failure.
fn print(text: &str, code: u8) -> ExitCode {
    let printed = writeln!(stdout(), "{text}");
    ExitCode::from(if printed.is_ok() { code } else { code.max(FAILED) })
}

/// Clap's messages repeat arguments, and an argument may be a URL in the wrong place.
fn hide(text: String, words: &[OsString]) -> String {
    let words = words.iter().filter_map(|word| word.to_str());
    let parts = words.flat_map(|word| [word, word.split_once('=').map_or(word, |(_, value)| value)]);
    parts.fold(text, |text, part| text.replace(part, &mask_url(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_repeats_an_argument_hides_its_password() {
        let words =
            ["stats", "--x=postgres://me:secret@host/x", "redis://:secret@host?pass=secret"].map(OsString::from);
        let text = "no `postgres://me:secret@host/x`, no `redis://:secret@host?pass=secret`, no stats";
        let hidden = "no `postgres://me:***@host/x`, no `redis://:***@host?pass=***`, no stats";
        assert_eq!(hide(text.to_owned(), &words), hidden);
    }
}
