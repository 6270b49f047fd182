//! Helpers that several tests of the project share.

#[cfg(unix)]
pub mod backends;
pub mod browser;
#[cfg(unix)]
pub mod chromium;
pub mod gate;
pub mod logs;
pub mod patient_clock;
mod port;
#[cfg(unix)]
pub mod processes;
pub mod proxy;
pub mod report;
pub mod served;
#[cfg(unix)]
pub mod servers;
pub mod site_process;
pub mod spy;
