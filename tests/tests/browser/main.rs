//! Tests in Chromium: which cookie the server accepts, and which cookie the browser has afterwards.
//!
//! `BROWSER_RACES` and `BROWSER_LATE_RESPONSES` set the number of rounds per store; a release is checked with 1000 and
//! 100.
#![cfg(unix)]

mod domains;
mod ended;
mod late;
mod names;
mod partitioned;
mod races;
mod site;
mod withheld;

use std::any::Any;

use session_rocket_tests::servers::{Postgres, Redis};

/// An empty store for one test.
struct Store {
    url: String,
    /// The server or folder of the store, which is removed with this value.
    _server_or_folder: Box<dyn Any>,
}

impl Store {
    fn memory() -> Self {
        Self { url: "memory:".to_owned(), _server_or_folder: Box::new(()) }
    }

    fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be created");
        let url = format!("sqlite://{}", folder.path().join("sessions.db").display());
        Self { url, _server_or_folder: Box::new(folder) }
    }

    fn redis() -> Self {
        let server = Redis::start();
        Self { url: server.url(), _server_or_folder: Box::new(server) }
    }

    fn postgres() -> Self {
        let server = Postgres::start();
        Self { url: server.url(), _server_or_folder: Box::new(server) }
    }
}

/// Defines one module per store, with a test for each of the functions. The functions take a [`Store`].
macro_rules! on_every_store {
    ($($test:ident)*) => {
        on_every_store! { @in memory $($test)* }
        on_every_store! { @in sqlite $($test)* }
        on_every_store! { @in redis $($test)* }
        on_every_store! { @in postgres $($test)* }
    };
    (@in $store:ident $($test:ident)*) => {
        mod $store {
            $(#[test]
            fn $test() {
                if session_rocket_tests::report::is_wanted(stringify!($store)) {
                    super::$test(&crate::Store::$store());
                }
            })*
        }
    };
}
pub(crate) use on_every_store;

/// Returns the number in the environment variable, or the default.
fn rounds(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |number| number.parse().expect("the value is a number"))
}
