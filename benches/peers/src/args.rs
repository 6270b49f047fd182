//! What the command line asks for.

use crate::growth;
use crate::peers::{self, SESSIONS};
use crate::places::Store;
use crate::sites::Server;

pub const USAGE: &str = "\
usage: cargo xtask bench --peers | --growth | --page  [options]

  --peers              libraries side by side, on each store
  --growth             many sessions, many connections, large sessions, a sweep
  --page               measures nothing: writes docs/performance.md anew

  --only sqlite,redis  only these stores, by the beginnings of their names
  --servers bare,…     only these servers: bare, hand-written, session-rocket, flex, tower
  --rounds 3           how often each is measured
  --seconds 5          how long, after one second of warm-up
  --sessions 2000      how many sessions there are (--peers); 1 shows which library loses updates
  --connections 32     how many requests are on their way (--peers)
  --scale 0.01         fewer sessions (--growth)
  --write              write docs/performance.md, which only a run of everything does by itself";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    Peers,
    Growth,
    Page,
}

pub struct Args {
    pub what: What,
    pub servers: Vec<Server>,
    pub rounds: u32,
    pub seconds: f64,
    /// Whether the page is written.
    pub writes: bool,
    stores: Vec<Store>,
    sessions: usize,
    connections: usize,
    scale: f64,
}

impl Args {
    pub fn read(args: &[String]) -> Result<Self, String> {
        let mut args = args.iter();
        let what = match args.next().map(String::as_str) {
            Some("--peers") => What::Peers,
            Some("--growth") => What::Growth,
            Some("--page") => What::Page,
            _ => return Err("what to measure?".to_owned()),
        };
        let (mut read, mut is_asked_for) = (Self::new(what), false);
        while let Some(flag) = args.next() {
            if flag == "--write" {
                is_asked_for = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("`{flag}` wants a value"))?;
            read.set(flag, value)?;
        }
        read.writes |= is_asked_for;
        Ok(read)
    }

    /// All there is.
    fn new(what: What) -> Self {
        let stores = if what == What::Growth { vec![Store::SqliteFull, Store::Postgres] } else { Store::ALL.to_vec() };
        let servers = Server::ALL.to_vec();
        Self { what, servers, rounds: 3, seconds: 5.0, writes: true, stores, sessions: SESSIONS, connections: 32, scale: 1.0 }
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), String> {
        let bad = || format!("`{value}` is no value of `{flag}`");
        self.writes &= matches!(flag, "--rounds" | "--seconds");
        match flag {
            "--only" => self.stores = of_names(value, &Store::ALL, Store::name)?,
            "--servers" => self.servers = of_names(value, &Server::ALL, Server::name)?,
            "--rounds" => self.rounds = value.parse().map_err(|_| bad())?,
            "--seconds" => self.seconds = value.parse().map_err(|_| bad())?,
            "--sessions" => self.sessions = value.parse().map_err(|_| bad())?,
            "--connections" => self.connections = value.parse().map_err(|_| bad())?,
            "--scale" => self.scale = value.parse().map_err(|_| bad())?,
            _ => return Err(format!("there is no `{flag}`")),
        }
        Ok(())
    }

    pub fn peers(&self) -> peers::Wanted {
        peers::Wanted {
            stores: self.stores.clone(),
            servers: self.servers.clone(),
            rounds: self.rounds,
            seconds: self.seconds,
            sessions: self.sessions,
            connections: self.connections,
        }
    }

    pub fn growth(&self) -> growth::Wanted {
        let Self { stores, servers, rounds, seconds, scale, .. } = self;
        let (stores, servers) = (stores.clone(), servers.clone());
        growth::Wanted { stores, servers, rounds: *rounds, seconds: *seconds, scale: *scale }
    }
}

/// Those of `all` that a list names, by the beginnings of their names.
fn of_names<T: Copy>(list: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<Vec<T>, String> {
    let names: Vec<&str> = list.split(',').collect();
    if let Some(unknown) = names.iter().find(|given| !all.iter().any(|one| name(*one).starts_with(*given))) {
        return Err(format!("there is no `{unknown}`"));
    }
    Ok(all.iter().copied().filter(|one| names.iter().any(|given| name(*one).starts_with(given))).collect())
}
