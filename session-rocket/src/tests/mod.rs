//! Tests of the session and its commits, without the macro and without Rocket.

mod between;
mod faults;
pub(crate) mod fixture;
mod handle;
mod model;
mod schedules;
mod state;
