//! What may be said on the command line.

use clap::{Parser, Subcommand};

use crate::base::error::Result;
use crate::web::config::{Beside, Settings};

const AFTER: &str = "\
The configuration is the site's: Rocket.toml and the environment, such as
ROCKET_SESSION='{store=\"sqlite://sessions.db\"}'. This program does not see what the site configures in code: pass
--store and --table. Put passwords into the environment: everybody on the machine can read a command line.

Exit codes:
  0  done
  1  the store failed, is missing, or could not be reached
  2  a wrong command line or configuration; a table that is missing or out of date
  3  the store cannot do this";

/// Looks after the session store of a Rocket site.
#[derive(Parser)]
#[command(name = "session-rocket", version, after_help = AFTER)]
pub(super) struct Args {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(clap::Args)]
pub(super) struct Options {
    /// The store, instead of the configured one
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
    /// The table of a SQL database, instead of the configured one
    #[arg(long, global = true, value_name = "NAME")]
    table: Option<String>,
    /// The table of the configuration; `session`, unless `#[session(config = "…")]` names another
    #[arg(long, global = true, value_name = "NAME")]
    config: Option<String>,
    /// Rocket's profile, instead of `ROCKET_PROFILE`. Default: `release`, if this program is optimized
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// How long a call may wait for the store, such as "30 s", instead of the configured time
    #[arg(long, global = true, value_name = "DURATION")]
    timeout: Option<String>,
    /// Print one JSON object on standard output, also for errors
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing where all goes well: no text, no progress, no warnings
    #[arg(long, global = true)]
    pub quiet: bool,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create the session table, or bring it up to date
    Migrate,
    /// See that a launch will find its sessions: a right configuration, an up-to-date table, a store that answers
    Check,
    /// Remove the sessions and tombstones that have expired
    ClearExpired {
        /// Remove so many at most
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Count what the store holds
    Stats,
}

impl Options {
    pub(super) fn settings(&self) -> Result<Settings> {
        let Self { store, table, config, profile, timeout, .. } = self;
        Beside {
            profile: profile.as_deref(),
            config: config.as_deref(),
            store: store.as_deref(),
            table: table.as_deref(),
            timeout: timeout.as_deref(),
        }
        .settings()
    }

    /// Whether there is somebody to watch the work.
    pub(super) fn is_talkative(&self) -> bool {
        !self.json && !self.quiet
    }
}
