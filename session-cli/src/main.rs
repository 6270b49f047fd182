//! Looks after the session store of a Rocket site: `session-rocket --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    session_rocket::cli::main()
}
