//! The integration with Rocket. Other folders must not name Rocket.

mod attached;
pub(crate) mod config;
pub(crate) mod cookie;
pub(crate) mod cross_origin;
pub(crate) mod csrf;
pub(crate) mod fairing;
pub(crate) mod guard;
mod headers;
mod launch;
pub(crate) mod login;
mod plain_http;
mod public_suffix;
mod registry;
mod sessions;
pub mod testing;
pub(crate) mod transport;
pub(crate) mod user;
