//! Tests of the session and its commits, without the macro and without Rocket.

mod between;
mod faults;
pub(crate) mod fixture;
mod handle;
mod logins;
mod model;
mod neighbours;
pub(crate) mod schedules;
mod slow;
mod state;
