//! The configuration. `Rocket.toml` and the environment override code, and code overrides the defaults.

mod check;
mod definition;
mod encoding;
mod names;
mod read;
mod seal;
mod settings;
#[cfg(test)]
mod tests;
mod word;

pub use self::definition::Config;
pub(crate) use self::read::{Code, Table};
pub(crate) use self::seal::SealSettings;
pub(crate) use self::settings::{Settings, resolve};
