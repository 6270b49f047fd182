//! The command-line arguments.

use crate::growth;
use crate::peers::{self, SESSIONS};
use crate::sites::{Allocator, Server};
use crate::stores::Store;

pub const USAGE: &str = "\
usage: cargo xtask bench --peers | --growth | --page  [options]

  --peers              compare libraries on each store
  --growth             measure many sessions, many connections, large sessions, a sweep
  --page               measure nothing, only write docs/performance.md

  --only sqlite,redis  measure only stores whose names begin with these
  --servers bare,…     measure only these servers: bare, hand-written, session-rocket, flex, tower, actix
  --allocator system   the allocator of all servers: mimalloc (default) or system; results with both are kept
  --rounds 3           the number of measurements
  --seconds 5          the duration of each measurement, after one second of warm-up
  --sessions 2000      the number of sessions (--peers); 1 shows which library loses updates
  --connections 32     the number of concurrent requests (--peers)
  --scale 0.01         a factor for the number of sessions (--growth)
  --write              write docs/performance.md even if the run is not complete";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Peers,
    Growth,
    Page,
}

pub struct Args {
    pub task: Task,
    pub servers: Vec<Server>,
    pub allocator: Allocator,
    pub rounds: u32,
    pub seconds: f64,
    pub writes_page: bool,
    stores: Vec<Store>,
    sessions: usize,
    connections: usize,
    scale: f64,
}

impl Args {
    pub fn read(args: &[String]) -> Result<Self, String> {
        let mut args = args.iter();
        let task = match args.next().map(String::as_str) {
            Some("--peers") => Task::Peers,
            Some("--growth") => Task::Growth,
            Some("--page") => Task::Page,
            _ => return Err("missing task: expected `--peers`, `--growth` or `--page`".to_owned()),
        };
        let (mut parsed, mut has_write_flag) = (Self::new(task), false);
        while let Some(flag) = args.next() {
            if flag == "--write" {
                has_write_flag = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("missing value of `{flag}`"))?;
            parsed.set(flag, value)?;
        }
        parsed.writes_page |= has_write_flag;
        Ok(parsed)
    }

    /// The arguments of a complete run.
    fn new(task: Task) -> Self {
        let stores = if task == Task::Growth { vec![Store::SqliteFull, Store::Postgres] } else { Store::ALL.to_vec() };
        let servers = Server::ALL.to_vec();
        Self {
            task,
            servers,
            allocator: Allocator::Mimalloc,
            rounds: 3,
            seconds: 5.0,
            writes_page: true,
            stores,
            sessions: SESSIONS,
            connections: 32,
            scale: 1.0,
        }
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), String> {
        let invalid = || format!("invalid value `{value}` of `{flag}`");
        self.writes_page &= matches!(flag, "--allocator" | "--rounds" | "--seconds");
        match flag {
            "--only" => self.stores = select(value, &Store::ALL, Store::name)?,
            "--servers" => self.servers = select(value, &Server::ALL, Server::name)?,
            "--allocator" => {
                let named = Allocator::ALL.into_iter().find(|allocator| allocator.name() == value);
                self.allocator = named.ok_or_else(invalid)?;
            }
            "--rounds" => self.rounds = value.parse().map_err(|_| invalid())?,
            "--seconds" => self.seconds = value.parse().map_err(|_| invalid())?,
            "--sessions" => self.sessions = value.parse().map_err(|_| invalid())?,
            "--connections" => self.connections = value.parse().map_err(|_| invalid())?,
            "--scale" => self.scale = value.parse().map_err(|_| invalid())?,
            _ => return Err(format!("unknown option `{flag}`")),
        }
        Ok(())
    }

    pub fn peers(&self) -> peers::Options {
        peers::Options {
            stores: self.stores.clone(),
            servers: self.servers.clone(),
            rounds: self.rounds,
            seconds: self.seconds,
            sessions: self.sessions,
            connections: self.connections,
        }
    }

    pub fn growth(&self) -> growth::Options {
        let Self { stores, servers, rounds, seconds, scale, .. } = self;
        let (stores, servers) = (stores.clone(), servers.clone());
        growth::Options { stores, servers, rounds: *rounds, seconds: *seconds, scale: *scale }
    }
}

/// Selects the items of `all` whose names begin with an entry of the comma-separated list.
fn select<T: Copy>(list: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<Vec<T>, String> {
    let names: Vec<&str> = list.split(',').collect();
    if let Some(unknown) = names.iter().find(|given| !all.iter().any(|item| name(*item).starts_with(*given))) {
        return Err(format!("unknown store or server `{unknown}`"));
    }
    Ok(all.iter().copied().filter(|item| names.iter().any(|given| name(*item).starts_with(given))).collect())
}
