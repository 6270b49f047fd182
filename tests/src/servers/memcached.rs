//! A Memcached server.

use std::process::Command;

use super::{Private, directory, programs};

/// One server.
pub struct Memcached(Private);

impl Memcached {
    /// Starts it, with memory enough for all that the tests keep.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        Self::with(&["-m", "512"])
    }

    /// Starts it with these arguments.
    ///
    /// # Panics
    /// When it does not start.
    pub fn with(arguments: &'static [&'static str]) -> Self {
        let program = programs::find("memcached").unwrap_or_else(|missing| panic!("{missing}"));
        Self(Private::start(directory(), move |_, port| {
            let mut command = Command::new(&program);
            // It refuses to be run by root, unless it is told to.
            command.args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string()]);
            command.args(arguments);
            command
        }))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("memcached://127.0.0.1:{}", self.0.port())
    }
}

impl std::ops::Deref for Memcached {
    type Target = Private;

    fn deref(&self) -> &Private {
        &self.0
    }
}

impl std::ops::DerefMut for Memcached {
    fn deref_mut(&mut self) -> &mut Private {
        &mut self.0
    }
}
