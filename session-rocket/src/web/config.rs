//! The configuration: from `Rocket.toml` and the environment, over code, over defaults.

mod check;
mod definition;
mod names;
mod read;
mod seal;
mod settings;
#[cfg(test)]
mod tests;
mod word;

pub use self::definition::Config;
pub(crate) use self::seal::SealSettings;
pub(crate) use self::settings::{Settings, resolve};
