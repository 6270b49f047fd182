//! Typed sessions for [Rocket](https://rocket.rs), without lost updates.
//!
//! A site declares what it remembers about a visitor as a plain struct. `#[derive(Session)]` gives each field typed
//! accessors. A fairing and a request guard load the session and save it.
//!
//! ```no_run
//! use rocket::{get, launch, routes};
//! use session_rocket::Session;
//!
//! /// What the site remembers about a visitor.
//! #[derive(Session)]
//! struct Visitor {
//!     name: Option<String>,
//!     #[session(default = "light")]
//!     theme: String,
//!     num_visits: u32,
//! }
//!
//! #[get("/")]
//! fn index(session: Session<Visitor>) -> String {
//!     session.update_num_visits(|visits| *visits += 1);
//!     format!("Visit count: {}, theme: {}", session.num_visits(), session.theme())
//! }
//!
//! #[get("/hello")]
//! fn hello(visitor: &Visitor) -> String {
//!     format!("Hello, {}!", visitor.name.as_deref().unwrap_or("stranger"))
//! }
//!
//! #[launch]
//! fn rocket() -> _ {
//!     rocket::build().attach(Session::<Visitor>::fairing()).mount("/", routes![index, hello])
//! }
//! ```
//!
//! The [guide] goes from an empty folder to production: accessors, saving, configuration, lifetimes, the cookie, login,
//! forms, sealed cookies, tests.
//!
//! | to | see |
//! |---|---|
//! | declare a session | the [derive](macro@Session) and its attributes |
//! | use it | [`Session`](struct@Session), with the accessors of its fields |
//! | configure it | [`Config`], [`SessionFairing`] |
//! | take forms | [`CsrfForm`] |
//! | handle errors | [`Error`], [`ErrorKind`] |
//! | write a store | [`store`], whose contract is a public test suite |
//!
//! # Guards
//!
//! | guard | gives | when the store cannot be read |
//! |---|---|---|
//! | `Session<T>` | the live session | 503 |
//! | `&T` | a read-only snapshot, taken at its first use in the request | 503 |
//! | `Result<Session<T>, session_rocket::Error>` | either | the error |
//! | `Option<Session<T>>` | the session or nothing | `None`: an outage looks like any other failure, so prefer `Result` |
//!
//! All guards of a request share one session. Catchers and fairings get the same session by `request.guard()`. If a mounted
//! route takes a session whose fairing is not attached, the launch aborts.
//!
//! # Where sessions live
//!
//! | `store` | back-end | cargo feature |
//! |---|---|---|
//! | `sqlite:` | a SQLite database; with `?synchronous=normal`, saves are faster and a power cut may lose the last ones | `sqlite` (default) |
//! | `postgres:` | a PostgreSQL database | `postgres` |
//! | `mysql:` `mariadb:` | a MySQL or MariaDB database | `mysql` |
//! | `redis:` `rediss:` `redis+cluster:` `rediss+cluster:` | Redis or Valkey: one server or a cluster, with TLS or without | `redis` |
//! | `memcached:` | Memcached: an eviction is a logout | `memcached` |
//! | `file:` | a directory, with one file for each session | `file` |
//! | `memory:` | the memory of this process | none |
//! | `cookie+encrypted:` `cookie+signed:` | the session's own cookie; the [guide](guide::sealed_cookies) lists its limits | none |
//!
//! `cache = "redis://…"` puts a cache in front of any store except the cookies: [`store::cached`]. In code, the fairing takes
//! an application's pool or any store. `docs/stores.md` of the repository says what each store promises, and which one to
//! choose.
//!
//! The feature `messagepack` adds `format = "messagepack"`, for all stores. The crate `session-cli` has the program
//! `session-rocket`, which maintains a store.
#![forbid(unsafe_code)]
// Labels items with the cargo feature that they need; docs.rs builds with a nightly compiler.
#![cfg_attr(docsrs, feature(doc_cfg))]
// An `expect` may stay: its text says why it cannot fail.
#![warn(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[doc(hidden)]
pub mod __private;
mod base;
mod commit;
mod data;

pub mod guide;
mod session;
mod state;
pub mod store;
mod web;

pub use base::clock::{Clock, ManualClock, Sleep, SystemClock, Timestamp};
pub use base::error::{Error, ErrorKind, Result};
pub use base::expiry::{Expiry, Refresh};
pub use base::id::{Key, SessionHandle, SessionId};
pub use data::codec::Format;
pub use data::csrf::CsrfToken;
pub use session::{Session, SessionData};
pub use session_derive::Session;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use sqlx;
pub use store::record::{Fate, Record, Tombstone, Version};
pub use time;
pub use web::config::Config;
pub use web::csrf::{CsrfError, CsrfForm, NoFields};
pub use web::fairing::SessionFairing;

#[cfg(test)]
mod tests;

/// Compiles the program in the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
