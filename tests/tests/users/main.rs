//! The users of a site: guards, the sessions of a user, limits, events, and the helpers for tests of a site.
#![cfg(unix)]

mod current_user;
mod ended;
mod events;
mod launch;
mod limits;
mod login;
mod races;
mod sessions;
mod site;
mod testing;
