//! A Memcached server.

use std::process::Command;

use super::{ServerProcess, programs, temporary_directory};

/// A Memcached server.
pub struct Memcached(ServerProcess);

impl Memcached {
    /// Starts a server with enough memory for all tests.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn start() -> Self {
        Self::with_arguments(&["-m", "512"])
    }

    /// Starts a server with these arguments.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn with_arguments(arguments: &'static [&'static str]) -> Self {
        let program = programs::find("memcached").unwrap_or_else(|missing| panic!("{missing}"));
        Self(ServerProcess::start(temporary_directory(), move |_, port| {
            let mut command = Command::new(&program);
            // Without this option, the program refuses to run as root.
            command.args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string()]);
            command.args(arguments);
            command
        }))
    }

    /// The URL of the server.
    pub fn url(&self) -> String {
        format!("memcached://127.0.0.1:{}", self.0.port())
    }
}

impl std::ops::Deref for Memcached {
    type Target = ServerProcess;

    fn deref(&self) -> &ServerProcess {
        &self.0
    }
}

impl std::ops::DerefMut for Memcached {
    fn deref_mut(&mut self) -> &mut ServerProcess {
        &mut self.0
    }
}
