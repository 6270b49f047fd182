//! The program `session-rocket`, which maintains the session store of a Rocket site.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used)]

mod args;
mod commands;
mod config;
mod generate;
mod logger;
mod open;
mod output;
mod report;
mod sessions;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use session_rocket::{Error, ErrorKind, Result};

use self::args::{Args, Command, Options, StoreCommand};
use self::report::Report;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    let args = match Args::try_parse_from(&arguments) {
        Ok(args) => args,
        Err(error) => return output::print_usage(&error, &arguments),
    };
    logger::start(args.options.quiet);
    let result = match &args.command {
        Command::Store(command) => run(command, &args.options),
        Command::Completions { shell } => Ok(generate::completions(*shell)),
        Command::Man { directory } => generate::manual_pages(directory),
    };
    output::print_result(&result, &args.options)
}

fn run(command: &StoreCommand, options: &Options) -> Result<Report> {
    let config = config::read(options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::with_source(ErrorKind::Unavailable, "cannot start threads", e))?;
    runtime.block_on(commands::run(command, &config, options.shows_progress()))
}
