//! Typed sessions for [Rocket](https://rocket.rs), without lost updates.
//!
//! A site declares the data of a session as a plain struct. `#[derive(Session)]` generates typed accessors for each
//! field. A request guard loads the session, and a fairing saves it before Rocket sends the response head.
//!
//! ```no_run
//! use rocket::{get, launch, routes};
//! use session_rocket::Session;
//!
//! /// The data that the site stores about a visitor.
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
//! The [guide] leads from an empty folder to production.
//!
//! | to | see |
//! |---|---|
//! | declare a session | the [derive](macro@Session) and its attributes |
//! | read and change a session | [`Session`](struct@Session) and the accessors of its fields |
//! | configure sessions | [`Config`], [`SessionFairing`] |
//! | refuse requests that other sites forge | [`CrossOriginProtection`] |
//! | check the CSRF tokens of forms and scripts | [`CsrfForm`], [`CsrfHeader`] |
//! | log users in, and find their accounts | [`LoadUser`] |
//! | serve apps and API clients | [`Transport`] |
//! | test a site | [`testing`] |
//! | handle errors | [`Error`], [`ErrorKind`] |
//! | write a store | [`store`], with the contract and its test suite |
//!
//! # Guards
//!
//! | guard | value | if the store cannot be read |
//! |---|---|---|
//! | `Session<T>` | the live session | 503 |
//! | `&T` | a read-only snapshot, taken at the first use of this guard in a request | 503 |
//! | `Result<Session<T>, session_rocket::Error>` | the live session or the error | the error |
//! | `Option<Session<T>>` | the live session or `None` | `None`; prefer `Result`, which shows the error |
//! | [`LoggedIn<T>`](LoggedIn) | the session of a logged-in user; otherwise forwards with 401 | 503 |
//! | [`RecentLogin<T, SECONDS>`](RecentLogin) | the session of a user who authenticated recently; otherwise 401 or 403 | 503 |
//! | [`CurrentUser<U>`](CurrentUser) | the account of the logged-in user; otherwise forwards with 401 | 503 |
//! | [`Sessions<T>`](Sessions) | lists, ends and changes the sessions of any user | its methods return the error |
//!
//! In a request, all guards of the same session type share one session. Catchers and fairings get this session with
//! `request.guard()`. If a mounted route uses a session type whose fairing is not attached, the launch aborts.
//!
//! # Stores
//!
//! | `store` | where sessions are stored | cargo feature |
//! |---|---|---|
//! | `sqlite:` | a SQLite database; `?synchronous=normal` makes saves faster, but a power cut may lose the last saves | `sqlite` (default) |
//! | `postgres:` | a PostgreSQL database | `postgres` |
//! | `mysql:` `mariadb:` | a MySQL or MariaDB database | `mysql` |
//! | `redis:` `rediss:` `redis+cluster:` `rediss+cluster:` | Redis or Valkey: one server or a cluster, with or without TLS | `redis` |
//! | `memcached:` | Memcached, which may evict a session and thereby log its user out | `memcached` |
//! | `file:` | a directory with one file for each session | `file` |
//! | `memory:` | the memory of this process | none |
//! | `cookie+encrypted:` `cookie+signed:` | an encrypted or signed (_sealed_) cookie in the browser; the [guide](guide::sealed_cookies) lists the limits | none |
//!
//! The setting `cache = "redis://…"` puts a [cache](store::cached) in front of any store except sealed cookies. In
//! code, [`SessionFairing`] also accepts the application's database pool or a [`Store`](store::Store). The file
//! `docs/stores.md` in the repository compares the stores.
//!
//! The cargo feature `messagepack` adds the setting `format = "messagepack"` for all stores. The crate `session-cli`
//! contains the program `session-rocket`, which maintains a store.
#![forbid(unsafe_code)]
// docs.rs sets `docsrs`. `doc_cfg` shows the required cargo feature next to each item, and needs a nightly compiler.
#![cfg_attr(docsrs, feature(doc_cfg))]
// `expect` is allowed, because its text says why the call cannot fail.
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
pub use base::event::{EndReason, Event, EventKind};
pub use base::expiry::{Expiry, Refresh};
pub use base::id::{InvalidHandle, Key, SessionHandle, SessionId};
pub use base::limit::WhenFull;
pub use data::codec::Format;
pub use data::csrf::CsrfToken;
pub use session::{Listing, Session, SessionData, SessionIdentity, Sessions};
pub use session_derive::Session;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use sqlx;
pub use store::record::{Fate, Record, Tombstone, Version};
pub use time;
pub use web::config::Config;
pub use web::cross_origin::CrossOriginProtection;
pub use web::csrf::{CsrfError, CsrfForm, CsrfHeader, NoFields};
pub use web::fairing::SessionFairing;
pub use web::login::{LoggedIn, LoginError, RecentLogin};
pub use web::testing;
pub use web::transport::Transport;
pub use web::user::{CurrentUser, LoadError, LoadUser};

#[cfg(test)]
mod tests;

/// Compiles the program in the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
