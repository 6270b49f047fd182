//! What several tests of the project need.

pub mod browser;
pub mod logs;
pub mod server;
pub mod spy;
