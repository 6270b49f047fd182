//! Runs one operation so many times: `cargo xtask bench --gate` counts the instructions that it takes.
//!
//! `session-rocket-gate` prints the names of all operations, one a line; `session-rocket-gate NAME TIMES` runs one.

mod site;

use std::env;
use std::hint::black_box;
use std::process::ExitCode;

use rocket::tokio::runtime::Builder;
use session_rocket::Session;

use self::site::{Site, Visit, Visitor, visitor};

/// How many changes one session takes: each is remembered for replay, and no request makes many more.
const CHANGES: u32 = 100;

const MEMORY: &str = "memory:";
const SIGNED: &str = "cookie+signed:";
const ENCRYPTED: &str = "cookie+encrypted:";

/// What is counted.
#[derive(Clone, Copy)]
enum Operation {
    /// A request for this path, with the visitor's cookies or without.
    Request { store: Option<&'static str>, path: &'static str, with_cookie: bool },
    /// A call on a loaded session.
    Call(fn(&Session<Visit>)),
    /// A session of ten fields is loaded, and given to this.
    Load { store: &'static str, with: With },
}

/// What becomes of a loaded session.
#[derive(Clone, Copy)]
enum With {
    Nothing,
    AllRead,
    OneSaved,
    AllSaved,
}

const fn request(store: &'static str, path: &'static str) -> Operation {
    Operation::Request { store: Some(store), path, with_cookie: true }
}

const OPERATIONS: [(&str, Operation); 19] = [
    ("request without the library", Operation::Request { store: None, path: "/bare", with_cookie: true }),
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
    ("load ten fields", Operation::Load { store: MEMORY, with: With::Nothing }),
    ("decode ten fields", Operation::Load { store: MEMORY, with: With::AllRead }),
    ("save one of ten fields", Operation::Load { store: MEMORY, with: With::OneSaved }),
    ("save ten fields", Operation::Load { store: MEMORY, with: With::AllSaved }),
    ("open and seal 1 KB, signed", Operation::Load { store: SIGNED, with: With::OneSaved }),
    ("open and seal 1 KB, encrypted", Operation::Load { store: ENCRYPTED, with: With::OneSaved }),
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.as_slice() {
        [] => OPERATIONS.iter().for_each(|(name, _)| println!("{name}")),
        [name, times] => {
            let operation = OPERATIONS.iter().find(|(known, _)| known == name);
            let (Some((_, operation)), Ok(times)) = (operation, times.parse()) else { return ExitCode::FAILURE };
            // One thread: others would have their share in the count.
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
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
                Some(store) => Site::of_visits(store).await,
                None => Site::bare().await,
            };
            for _ in 0..times {
                site.get(path, with_cookie).await;
            }
        }
        Operation::Call(call) => {
            let site = Site::of_visits(MEMORY).await;
            let mut session = site.load().await;
            for n in 1..=times {
                call(&session);
                if n % CHANGES == 0 {
                    session = site.load().await;
                }
            }
        }
        Operation::Load { store, with } => {
            let site = Site::of_visitors(store).await;
            for n in 0..times {
                become_of(site.load().await, with, n).await;
            }
        }
    }
}

async fn become_of(session: Session<Visitor>, with: With, n: u32) {
    match with {
        With::Nothing => drop(black_box(session)),
        With::AllRead => drop(black_box(session.get())),
        With::OneSaved => {
            session.set_visits(n);
            session.save().await.expect("a session can be saved");
        }
        With::AllSaved => {
            session.replace(visitor(n));
            session.save().await.expect("a session can be saved");
        }
    }
}
