//! Loads sessions and commits their changes, either to a store or to a sealed cookie.
//!
//! Each file imports only from the files before it: `rules`, `records`, `uncertain`, `rotate`, `group`, `engine`.

pub(crate) mod candidates;
mod cookie;
mod engine;
mod group;
mod outcome;
mod records;
mod rotate;
mod rules;
pub(crate) mod sealed;
mod uncertain;

pub(crate) use self::cookie::{CookieBounds, CookieEngine};
pub(crate) use self::engine::{Engine, StoreEngine};
pub(crate) use self::outcome::{ended, too_late, withheld};
pub(crate) use self::rules::Rules;
