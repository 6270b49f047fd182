//! The arguments.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

const AFTER: &str = "\
The configuration is the site's: Rocket.toml and the environment, such as
ROCKET_SESSION='{store=\"sqlite://sessions.db\"}'. This program does not see what the site configures in code: pass
--store and --table. Put passwords into the environment: everybody on the machine can read a command line.

Exit codes:
  0  done
  1  the store failed, is missing, or could not be reached
  2  an invalid command line or configuration; a table that is missing or out of date
  3  the store cannot do this";

/// Maintains the session store of a Rocket site.
#[derive(Parser)]
#[command(name = "session-rocket", version, after_help = AFTER)]
pub(super) struct Args {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(clap::Args, Default)]
pub(super) struct Options {
    /// The store, instead of the configured one
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// The table of a SQL database, instead of the configured one
    #[arg(long, global = true, value_name = "NAME")]
    pub table: Option<String>,
    /// The table of the configuration; `session`, unless `#[session(config = "…")]` names another
    #[arg(long, global = true, value_name = "NAME")]
    pub config: Option<String>,
    /// Rocket's profile, instead of `ROCKET_PROFILE`. Default: `release`, if this program is optimized
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// How long a call may wait for the store, such as "30 s", instead of the configured time
    #[arg(long, global = true, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Print one JSON object on standard output, also for errors
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only errors: no text, no progress, no warnings
    #[arg(long, global = true)]
    pub quiet: bool,
}

#[derive(Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Store(StoreCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell that reads the script
        shell: Shell,
    },
    /// Write a manual page for each command
    Man {
        /// The directory to write to
        directory: PathBuf,
    },
}

/// What needs the site's configuration.
#[derive(Subcommand)]
pub(super) enum StoreCommand {
    /// Create the session table, or bring it up to date
    Migrate,
    /// Check that a launch will find its sessions: a valid configuration, an up-to-date table, a store that answers
    Check,
    /// Remove the sessions and tombstones that have expired
    ClearExpired {
        /// Remove at most this number
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Count what the store holds
    Stats,
}

impl Options {
    /// Whether to print text and progress.
    pub(super) fn is_talkative(&self) -> bool {
        !self.json && !self.quiet
    }
}
