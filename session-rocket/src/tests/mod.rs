//! Tests of the session and its commits, without the macro and without Rocket.

mod between;
mod faults;
pub(crate) mod fixture;
mod logins;
mod methods;
mod model;
mod neighbours;
pub(crate) mod schedules;
mod slow;
mod state;
