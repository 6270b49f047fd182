//! A Redis server.

use std::process::Command;

use super::{Private, directory, programs};

/// One server, without replicas, that writes every change to its disk.
pub struct Redis(Private);

impl Redis {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let program = programs::find("redis-server").unwrap_or_else(|missing| panic!("{missing}"));
        Self(Private::start(directory(), move |directory, port| {
            let mut command = Command::new(&program);
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(directory);
            command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]);
            command
        }))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.0.port())
    }
}

impl std::ops::Deref for Redis {
    type Target = Private;

    fn deref(&self) -> &Private {
        &self.0
    }
}

impl std::ops::DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut Private {
        &mut self.0
    }
}
