//! The command-line arguments.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use session_rocket::SessionHandle;

const AFTER: &str = "\
The program reads the site's configuration: Rocket.toml and environment variables such as
ROCKET_SESSION='{store=\"sqlite://sessions.db\"}'. It does not see what the site configures in code: pass --store and
--table. Put passwords into the environment, because other users of the machine can read command lines.

Exit codes:
  0  done
  1  the store failed, is missing, or was unreachable
  2  the command line or configuration is invalid, or the table is missing or out of date
  3  the store does not support the command
  4  no live session has the handle";

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
    /// The URL of the store, instead of the configured store
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// The session table in a SQL database, instead of the configured table
    #[arg(long, global = true, value_name = "NAME")]
    pub table: Option<String>,
    /// The configuration table to read: the name in `#[session(config = "…")]`. Default: `session`
    #[arg(long, global = true, value_name = "NAME")]
    pub config: Option<String>,
    /// Rocket's profile, instead of `ROCKET_PROFILE`. Default: `release`
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// The maximum duration of a call to the store, such as "30 s", instead of the configured timeout
    #[arg(long, global = true, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Print one JSON object on standard output, also for errors
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only errors: no results, no progress, no warnings
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

/// The commands that need the site's configuration.
#[derive(Subcommand)]
pub(super) enum StoreCommand {
    /// Create or update the session table
    Migrate,
    /// Check that the configuration is valid, the store replies, and the session table is up to date
    Check,
    /// Remove expired sessions and expired tombstones (markers of ended sessions)
    ClearExpired {
        /// Remove at most this number of sessions and tombstones
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Count the sessions in the store
    Stats,
    /// List the live sessions of a user
    List(User),
    /// End sessions of a user
    Revoke {
        #[command(flatten)]
        user: User,
        #[command(flatten)]
        selection: Selection,
    },
}

/// The user whose sessions a command lists or ends.
#[derive(clap::Args)]
pub(super) struct User {
    /// The user's id: the value of the field with `#[session(identity)]`, as a string
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub identity: String,
    /// The scope of the session type (required): the names of its package and struct, or the value of
    /// `#[session(scope = "…")]`
    #[arg(long, value_name = "PACKAGE::STRUCT")]
    pub scope: Option<String>,
}

/// The sessions to end. The options accept a value with a hyphen at its start, because a handle may begin with one.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Selection {
    /// End the session with this handle
    #[arg(long, value_name = "HANDLE", allow_hyphen_values = true)]
    pub handle: Option<SessionHandle>,
    /// End all sessions except the one with this handle
    #[arg(long, value_name = "HANDLE", allow_hyphen_values = true)]
    pub others_than: Option<SessionHandle>,
    /// End all sessions
    #[arg(long)]
    pub all: bool,
}

impl Options {
    /// Whether to show a progress bar.
    pub(super) fn shows_progress(&self) -> bool {
        !self.json && !self.quiet
    }
}
