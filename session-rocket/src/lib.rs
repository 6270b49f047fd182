//! Typed sessions for [Rocket](https://rocket.rs), without lost updates.
//!
//! A site declares what it remembers about a visitor as a plain struct. `#[derive(Session)]` turns each field into
//! typed accessors; a fairing and a request guard load the session and save it.
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
//! # Accessors
//!
//! For a field `f`, declared as `Option<T>` or as `T`:
//!
//! | accessor | `Option<T>` | `T` |
//! |---|---|---|
//! | `f()` | the stored value | the stored value or the default |
//! | `set_f(v)` | stores a `T` | stores a `T` |
//! | `setdefault_f(v)` | the stored value, or stores `v` and returns it | the same |
//! | `update_f(op)` | `op(&mut Option<T>)` | `op(&mut T)` |
//! | `with_f(look)` | `look(Option<&T>)`, without a clone | `look(&T)` |
//! | `has_f()` | whether a value is stored | the same |
//! | `delete_f()` | removes the stored value and returns it | the same |
//!
//! The default is `T::default()` or what `#[session(default = …)]` says. All take `&self`. **`update_f` is the way to
//! change a value that depends on the old one**: its closure runs again, as a clone, when another request changed the
//! session meanwhile, so that two requests that both count are both counted. A setter overwrites. The attributes are
//! told at the [derive](macro@Session), the session's own methods at [`Session`](struct@Session).
//!
//! # When it is saved
//!
//! When the response is made and before its head is sent, unless its status is 5xx; `flush` and `cycle_id` are carried
//! out at any status. If the store does not confirm, the client gets an empty 503 and no cookie. What runs after the
//! head, such as a stream, calls [`Session::save`]. Attach the fairing after others that change the session.
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
//! All guards of a request share one session, and so do catchers and fairings by `request.guard()`. A mounted route
//! that takes one without its fairing aborts the launch.
//!
//! # Login and logout
//!
//! Mark the field that holds the user's id with `#[session(identity)]`. Setting it gives the session a new id, so that
//! nobody can plant one before the login. From nobody to a user the data stays; from one user to another, or to nobody,
//! the session is emptied first. [`Session::flush`] logs out: the record ends, the browser forgets the id, and a slow
//! request that still holds the old id brings nothing back.
//!
//! # Configuration
//!
//! In `Rocket.toml`, table `[default.session]` (or the one named by `#[session(config = "…")]`), or in the environment
//! as `ROCKET_SESSION={key=value}`; values given in code, with [`Config`], are defaults below both. Every key is a method
//! of [`Config`], told there with its default. A key or value that cannot work aborts the launch and says what to
//! change.
//!
//! ```toml
//! [default.session]
//! store = "sqlite:///var/lib/site/sessions.db"
//! expiry = "30 minutes"
//! max_lifetime = "8 hours"
//! refresh = 0.1
//! ```
//!
//! | `store` | back-end | cargo feature |
//! |---|---|---|
//! | `sqlite:` | a SQLite database; `?synchronous=normal` gives up the last commits in a power cut for speed | `sqlite` (default) |
//! | `memory:` | the memory of this process | always in |
//!
//! Further back-ends are a [`Store`](store::Store) each, checked by [`store::conformance`].
//!
//! # When the struct changes
//!
//! Old and new releases may serve side by side. A stored value that does not decode as the field's type reads as absent
//! and is kept as it is until it is overwritten; stored keys that no field declares are kept too. `rename` keeps the
//! stored name of a renamed field, `alias` reads further names, `#[session(extra)]` gives access to undeclared keys.
//!
//! # Tests of your handlers
//!
//! Rocket's local client works as ever. Keep the sessions of a test in memory, and move its time:
//!
//! ```
//! use std::sync::Arc;
//! use session_rocket::{Config, ManualClock, Session};
//! # #[derive(Session)]
//! # struct Visitor { num_visits: u32 }
//!
//! let clock = Arc::new(ManualClock::default());
//! let fairing = Session::<Visitor>::fairing().config(Config::new().store("memory:")).clock(clock.clone());
//! ```
//!
//! # How it is built
//!
//! `docs/architecture.md` in the repository tells.
#![forbid(unsafe_code)]
// An `expect` may stay: its text says why it cannot fail.
#![warn(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod change;
mod clock;
mod codec;
mod commit;
mod csrf;
mod data;
mod error;
mod expiry;
mod faithful;
mod field;
mod id;
#[doc(hidden)]
pub mod private;
mod record;
mod sealed;
mod session;
mod state;
pub mod store;
mod values;
mod web;

pub use clock::{Clock, ManualClock, Sleep, SystemClock, Timestamp};
pub use codec::Format;
pub use csrf::CsrfToken;
pub use data::SessionData;
pub use error::{Error, ErrorKind, Result};
pub use expiry::{Expiry, Refresh};
pub use id::{Key, SessionId};
pub use record::{Fate, Record, Tombstone, Version};
pub use session::Session;
pub use session_derive::Session;
#[cfg(feature = "sqlite")]
pub use sqlx;
pub use time;
pub use web::config::Config;
pub use web::csrf::{CsrfError, CsrfForm};
pub use web::fairing::SessionFairing;

#[cfg(test)]
mod tests;

/// Compiles the program in the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
