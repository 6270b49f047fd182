//! Loads sessions and commits their changes, either to a store or to a sealed cookie.

pub(crate) mod candidates;
mod cookie;
mod engine;
mod events;
mod group;
mod limit;
mod outcome;
mod records;
mod report;
mod revoke;
mod rotate;
mod rules;
pub(crate) mod sealed;
mod sessions;
mod uncertain;

pub(crate) use self::cookie::{CookieBounds, CookieEngine};
pub(crate) use self::engine::{Engine, StoreEngine};
pub(crate) use self::events::Events;
pub(crate) use self::outcome::{ended, too_late, withheld};
pub(crate) use self::rules::Rules;
pub(crate) use self::sessions::Listed;
