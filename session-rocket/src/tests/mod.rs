//! Tests of the session and its commits, without the macro and without Rocket.

mod fixture;
mod model;
mod schedules;
mod state;
