//! Tests of sessions and their commits, without the derive macro and without Rocket.

mod between;
mod faults;
pub(crate) mod fixture;
mod limits;
mod logins;
mod methods;
mod model;
mod neighbours;
pub(crate) mod schedules;
mod slow;
mod state;
mod users;
