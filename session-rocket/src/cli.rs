//! The command line: looks after the store of a site that may be running.

mod args;
mod commands;
mod logger;
mod report;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use self::args::Args;
use crate::base::error::{Error, ErrorKind, Result};

/// Does what the arguments of this process say. Its exit code is told in `--help`.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    let args = match Args::try_parse_from(&words) {
        Ok(args) => args,
        Err(error) => return report::usage(&error, &words),
    };
    logger::start(args.options.quiet);
    report::outcome(&run(&args), &args.options)
}

fn run(args: &Args) -> Result<commands::Answer> {
    let settings = args.options.settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::with_source(ErrorKind::Unavailable, "cannot start any threads", e))?;
    runtime.block_on(commands::run(&args.command, &settings, args.options.is_talkative()))
}
