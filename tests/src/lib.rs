//! What several tests of the project need.

pub mod browser;
#[cfg(unix)]
pub mod chromium;
pub mod logs;
#[cfg(unix)]
mod processes;
pub mod proxy;
pub mod report;
pub mod served;
pub mod server;
#[cfg(unix)]
pub mod servers;
pub mod spy;
