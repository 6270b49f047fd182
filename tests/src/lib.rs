//! What several tests of the project need.

pub mod browser;
#[cfg(unix)]
pub mod chromium;
pub mod logs;
pub mod served;
pub mod server;
pub mod spy;
