//! Repeats one operation, so that `cargo xtask bench --gate` can count its instructions.
//!
//! `session-rocket-gate` prints the names of all operations, one per line. `session-rocket-gate NAME TIMES` runs one.

mod site;

use std::env;
use std::hint::black_box;
use std::process::ExitCode;

use rocket::http::Method;
use rocket::tokio::runtime::Builder;
use session_rocket::Session;

use self::site::{Site, Visit, Visitor, visitor};

/// The number of changes per loaded session. A session keeps its changes for replay, and few requests make more than this.
const CHANGES: u32 = 100;

const MEMORY: &str = "memory:";
const SIGNED: &str = "cookie+signed:";
const ENCRYPTED: &str = "cookie+encrypted:";

#[derive(Clone, Copy)]
enum Operation {
    /// Sends a request for this path, with or without the visitor's cookie.
    Request { store: Option<&'static str>, path: &'static str, with_cookie: bool },
    /// Sends a request for `/bare` of a site without sessions, with or without `CrossOriginProtection`.
    Bare { method: Method, protected: bool },
    /// Calls a method of a loaded session.
    Call(fn(&Session<Visit>)),
    /// Loads a session of ten fields and uses it.
    Load { store: &'static str, usage: Usage },
}

#[derive(Clone, Copy)]
enum Usage {
    None,
    ReadAll,
    SaveOne,
    SaveAll,
}

const fn request(store: &'static str, path: &'static str) -> Operation {
    Operation::Request { store: Some(store), path, with_cookie: true }
}

const OPERATIONS: [(&str, Operation); 23] = [
    ("request without the library", Operation::Request { store: None, path: "/bare", with_cookie: true }),
    ("GET, not protected", Operation::Bare { method: Method::Get, protected: false }),
    ("GET, protected", Operation::Bare { method: Method::Get, protected: true }),
    ("POST, not protected", Operation::Bare { method: Method::Post, protected: false }),
    ("POST, protected", Operation::Bare { method: Method::Post, protected: true }),
    ("request that uses no session", request(MEMORY, "/bare")),
    ("request that is not found", request(MEMORY, "/nowhere")),
    ("read without a cookie", Operation::Request { store: Some(MEMORY), path: "/read", with_cookie: false }),
    ("read, memory", request(MEMORY, "/read")),
    ("read, signed", request(SIGNED, "/read")),
    ("read, encrypted", request(ENCRYPTED, "/read")),
    ("write, memory", request(MEMORY, "/write")),
    ("write, signed", request(SIGNED, "/write")),
    ("write, encrypted", request(ENCRYPTED, "/write")),
    ("get", Operation::Call(|session| _ = black_box(session.visits()))),
    ("set", Operation::Call(|session| session.set_visits(black_box(7)))),
    ("update", Operation::Call(|session| session.update_visits(|visits| *visits += 1))),
    ("load ten fields", Operation::Load { store: MEMORY, usage: Usage::None }),
    ("decode ten fields", Operation::Load { store: MEMORY, usage: Usage::ReadAll }),
    ("save one of ten fields", Operation::Load { store: MEMORY, usage: Usage::SaveOne }),
    ("save ten fields", Operation::Load { store: MEMORY, usage: Usage::SaveAll }),
    ("open and seal 1 KB, signed", Operation::Load { store: SIGNED, usage: Usage::SaveOne }),
    ("open and seal 1 KB, encrypted", Operation::Load { store: ENCRYPTED, usage: Usage::SaveOne }),
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.as_slice() {
        [] => OPERATIONS.iter().for_each(|(name, _)| println!("{name}")),
        [name, times] => {
            let operation = OPERATIONS.iter().find(|(known, _)| known == name);
            let (Some((_, operation)), Ok(times)) = (operation, times.parse()) else { return ExitCode::FAILURE };
            // Other threads would add to the count.
            let runtime = Builder::new_current_thread().enable_all().build().expect("cannot start a runtime");
            runtime.block_on(run(*operation, times));
        }
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

async fn run(operation: Operation, times: u32) {
    match operation {
        Operation::Request { store, path, with_cookie } => {
            let site = match store {
                Some(store) => Site::with_visits(store).await,
                None => Site::bare().await,
            };
            for _ in 0..times {
                site.get(path, with_cookie).await;
            }
        }
        Operation::Bare { method, protected } => {
            let site = if protected { Site::protected().await } else { Site::bare().await };
            for _ in 0..times {
                site.send_from_own_page(method).await;
            }
        }
        Operation::Call(call) => {
            let site = Site::with_visits(MEMORY).await;
            let mut session = site.load().await;
            for n in 1..=times {
                call(&session);
                if n % CHANGES == 0 {
                    session = site.load().await;
                }
            }
        }
        Operation::Load { store, usage } => {
            let site = Site::with_visitors(store).await;
            for n in 0..times {
                use_session(site.load().await, usage, n).await;
            }
        }
    }
}

async fn use_session(session: Session<Visitor>, usage: Usage, n: u32) {
    match usage {
        Usage::None => drop(black_box(session)),
        Usage::ReadAll => drop(black_box(session.get())),
        Usage::SaveOne => {
            session.set_visits(n);
            session.save().await.expect("cannot save the session");
        }
        Usage::SaveAll => {
            session.replace(visitor(n));
            session.save().await.expect("cannot save the session");
        }
    }
}
