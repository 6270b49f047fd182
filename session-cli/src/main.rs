//! The program `session-rocket`: maintains the session store of a Rocket site, whether the site runs or not.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used)]

mod args;
mod commands;
mod config;
mod generate;
mod logger;
mod report;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use session_rocket::{Error, ErrorKind, Result};

use self::args::{Args, Command, Options, StoreCommand};
use self::commands::Answer;

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    let args = match Args::try_parse_from(&words) {
        Ok(args) => args,
        Err(error) => return report::usage(&error, &words),
    };
    logger::start(args.options.quiet);
    let outcome = match &args.command {
        Command::Store(command) => run(command, &args.options),
        Command::Completions { shell } => Ok(generate::completions(*shell)),
        Command::Man { directory } => generate::manual(directory),
    };
    report::outcome(&outcome, &args.options)
}

fn run(command: &StoreCommand, options: &Options) -> Result<Answer> {
    let config = config::read(options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::with_source(ErrorKind::Unavailable, "cannot start threads", e))?;
    runtime.block_on(commands::run(command, &config, options.is_talkative()))
}
