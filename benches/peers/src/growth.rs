//! What becomes of it with many sessions, many connections, large sessions, and with a sweep meanwhile.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cpu;
use crate::figures::{Figures, Used};
use crate::fill::{self, Filled};
use crate::places::{Databases, Place, Store};
use crate::sites::{Server, Site};
use crate::visitors::{Outcome, Plan, Route, Visitors};

const SIZES: [usize; 3] = [10_000, 1_000_000, 10_000_000];
const CONNECTIONS: [usize; 3] = [1, 32, 256];
const PAYLOADS: [usize; 3] = [100, 1024, 16 * 1024];
/// The payload where its size is not the matter, in bytes.
const PAYLOAD: usize = 200;
const EXPIRED: usize = 1_000_000;
const IN_MEMORY: usize = 100_000;
const USUAL: usize = 32;
const WARM_UP: Duration = Duration::from_secs(1);

/// What to measure.
pub struct Wanted {
    pub stores: Vec<Store>,
    pub servers: Vec<Server>,
    pub rounds: u32,
    pub seconds: f64,
    /// By so much is each number of sessions multiplied.
    pub scale: f64,
}

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grown {
    pub round: u32,
    pub store: Store,
    pub server: Server,
    pub route: String,
    pub sessions: usize,
    pub payload: usize,
    pub connections: usize,
    #[serde(flatten)]
    pub figures: Figures,
}

/// One route before a sweep, while it runs and after it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Swept {
    pub store: Store,
    pub route: String,
    pub expired: usize,
    /// How long the sweep took.
    pub seconds: f64,
    pub before: Figures,
    pub during: Figures,
    pub after: Figures,
}

/// What a session takes in the memory of the server's process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    pub server: Server,
    pub sessions: usize,
    pub bytes_each: f64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Growth {
    pub grown: Vec<Grown>,
    pub swept: Vec<Swept>,
    pub held: Vec<Held>,
}

/// Measures all that is wanted.
pub fn run(wanted: &Wanted) -> Growth {
    let mut growth = Growth::default();
    let mut databases = Databases::default();
    for server in &wanted.servers {
        if *server != Server::Bare && server.has(Store::Memory) {
            growth.held.push(held(*server, wanted.scaled(IN_MEMORY)));
        }
    }
    for store in wanted.stores.iter().filter(|store| fill::can(**store)) {
        growth.swept.extend(sweep(wanted, &mut databases, *store));
        for payload in PAYLOADS {
            Pair::new(wanted, &mut databases, *store, payload).at(
                wanted,
                wanted.scaled(SIZES[0]),
                &[USUAL],
                &mut growth,
            );
        }
        let mut pair = Pair::new(wanted, &mut databases, *store, PAYLOAD);
        for (size, connections) in SIZES.into_iter().zip([&CONNECTIONS[..], &[USUAL], &[USUAL]]) {
            pair.at(wanted, wanted.scaled(size), connections, &mut growth);
        }
    }
    growth
}

impl Wanted {
    fn scaled(&self, number: usize) -> usize {
        // Fewer would meet each other.
        ((number as f64 * self.scale) as usize).max(2000)
    }

    fn plan(&self, connections: usize) -> Plan {
        Plan { connections, warm_up: WARM_UP, duration: Duration::from_secs_f64(self.seconds) }
    }
}

/// The servers that are filled alike and measured in turn.
struct Pair {
    halves: Vec<Half>,
}

struct Half {
    server: Server,
    place: Place,
    filled: Filled,
    visitors: Visitors,
}

impl Pair {
    fn new(wanted: &Wanted, databases: &mut Databases, store: Store, payload: usize) -> Self {
        let servers = [Server::HandWritten, Server::SessionRocket];
        let halves = servers.into_iter().filter(|server| wanted.servers.contains(server)).map(|server| {
            let place = databases.place(store);
            let filled = Filled::new(server, store, &place, payload);
            Half { server, place, filled, visitors: fill::visitors() }
        });
        Self { halves: halves.collect() }
    }

    /// Fills up to so many sessions, and measures each over so many connections.
    fn at(&mut self, wanted: &Wanted, sessions: usize, connections: &[usize], growth: &mut Growth) {
        for half in &mut self.halves {
            half.filled.grow(sessions);
            half.visitors.grow(sessions);
        }
        for round in 1..=wanted.rounds {
            for half in &mut self.halves {
                half.measure(wanted, round, connections, &mut growth.grown);
            }
        }
    }
}

impl Half {
    fn measure(&mut self, wanted: &Wanted, round: u32, connections: &[usize], grown: &mut Vec<Grown>) {
        let site = Site::start(self.server, &self.place.url);
        self.filled.remind();
        for connections in connections {
            for route in [Route::Get, Route::Count] {
                let plan = wanted.plan(*connections);
                let outcome = self.visitors.measure(site.port, route, plan, || used(&site, &self.place));
                outcome.assert_kept(self.server);
                let one = Grown {
                    round,
                    store: self.filled.store,
                    server: self.server,
                    route: route.path()[1..].to_owned(),
                    sessions: self.visitors.number(),
                    payload: self.filled.payload,
                    connections: *connections,
                    figures: Figures::of(&outcome),
                };
                println!("{one}");
                grown.push(one);
            }
        }
    }
}

fn used(site: &Site, place: &Place) -> Used {
    [cpu::used(site.process()), place.database.map(cpu::used).unwrap_or_default()]
}

/// A sweep of many expired sessions while others are used.
fn sweep(wanted: &Wanted, databases: &mut Databases, store: Store) -> Vec<Swept> {
    if !wanted.servers.contains(&Server::SessionRocket) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for route in [Route::Get, Route::Count] {
        let place = databases.place(store);
        let mut filled = Filled::new(Server::SessionRocket, store, &place, PAYLOAD);
        let (live, expired) = (wanted.scaled(SIZES[0]), wanted.scaled(EXPIRED));
        filled.grow(live);
        filled.add_expired(expired);
        let mut visitors = fill::visitors();
        visitors.grow(live);
        let measure = |site: &Site, visitors: &mut Visitors, plan: Plan| -> Outcome<Used> {
            let outcome = visitors.measure(site.port, route, plan, || used(site, &place));
            outcome.assert_kept(Server::SessionRocket);
            outcome
        };
        let plan = wanted.plan(USUAL);
        let site = Site::start_with(Server::SessionRocket, &place.url, &[]);
        let before = measure(&site, &mut visitors, plan);
        drop(site);
        let site =
            Site::start_with(Server::SessionRocket, &place.url, &[("ROCKET_SESSION", "{sweep_interval=\"1 s\"}")]);
        // The second in which it begins is not counted.
        measure(&site, &mut visitors, Plan { duration: Duration::ZERO, ..plan });
        let step = Plan { warm_up: Duration::ZERO, duration: Duration::from_millis(250), ..plan };
        let mut during = measure(&site, &mut visitors, step);
        while filled.has_expired() {
            during.extend(measure(&site, &mut visitors, step));
        }
        let after = measure(&site, &mut visitors, plan);
        let seconds = during.duration.as_secs_f64() + WARM_UP.as_secs_f64();
        let [before, during, after] = [before, during, after].map(|outcome| Figures::of(&outcome));
        let swept = Swept { store, route: route.path()[1..].to_owned(), expired, seconds, before, during, after };
        println!("{swept}");
        all.push(swept);
        drop(site);
    }
    all
}

/// The growth of the process by so many sessions.
fn held(server: Server, sessions: usize) -> Held {
    let site = Site::start(server, "memory:");
    // What the first requests take has nothing to do with the number of sessions.
    Visitors::new(site.port, 1000);
    let before = cpu::memory(site.process());
    let sessions = sessions - 1000;
    Visitors::new(site.port, sessions);
    let bytes = cpu::memory(site.process()).saturating_sub(before);
    let held = Held { server, sessions, bytes_each: bytes as f64 / sessions as f64 };
    println!("memory of {sessions} sessions in {}: {:.0} bytes each", server.name(), held.bytes_each);
    held
}

impl std::fmt::Display for Grown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { round, store, server, route, sessions, payload, connections, figures } = self;
        let (store, server) = (store.name(), server.name());
        write!(f, "{round} {store:13} {server:14} {route:6} x{connections:<3} {sessions:8} of {payload:5} B {figures}")
    }
}

impl std::fmt::Display for Swept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { store, route, expired, seconds, before, during, after } = self;
        writeln!(f, "sweep of {expired} in {seconds:.1} s, {} {route}", store.name())?;
        write!(f, "  before {before}\n  during {during}\n  after  {after}")
    }
}
