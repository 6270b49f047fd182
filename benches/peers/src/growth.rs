//! Measures many sessions, many connections, large sessions, and requests during a sweep.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cpu;
use crate::fill::{self, Sessions};
use crate::sites::{Server, Site};
use crate::statistics::{CpuTimes, Statistics};
use crate::stores::{DatabaseServers, Instance, Store};
use crate::visitors::{Measured, Plan, Route, Visitors};

const SIZES: [usize; 3] = [10_000, 1_000_000, 10_000_000];
const CONNECTIONS: [usize; 3] = [1, 32, 256];
const PAYLOADS: [usize; 3] = [100, 1024, 16 * 1024];
/// The size of the payload if it does not vary, in bytes.
const PAYLOAD: usize = 200;
/// The number of expired sessions that a sweep removes.
const EXPIRED: usize = 1_000_000;
/// The number of sessions in the measurement of memory.
const IN_MEMORY: usize = 1_000_000;
/// The number of connections if it does not vary.
const DEFAULT_CONNECTIONS: usize = 32;
const WARM_UP: Duration = Duration::from_secs(1);

pub struct Options {
    pub stores: Vec<Store>,
    pub servers: Vec<Server>,
    pub rounds: u32,
    pub seconds: f64,
    /// A factor for each number of sessions.
    pub scale: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measurement {
    pub round: u32,
    pub store: Store,
    pub server: Server,
    pub route: String,
    pub sessions: usize,
    pub payload: usize,
    pub connections: usize,
    #[serde(flatten)]
    pub figures: Statistics,
}

/// The statistics of one route before, during and after a sweep.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sweep {
    pub store: Store,
    pub route: String,
    pub expired: usize,
    /// The duration of the sweep.
    pub seconds: f64,
    pub before: Statistics,
    pub during: Statistics,
    pub after: Statistics,
}

/// The memory per session in the server's process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Memory {
    pub server: Server,
    pub sessions: usize,
    pub bytes_each: f64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Growth {
    pub measurements: Vec<Measurement>,
    pub sweeps: Vec<Sweep>,
    pub memory: Vec<Memory>,
}

pub fn run(options: &Options) -> Growth {
    let mut growth = Growth::default();
    let mut databases = DatabaseServers::default();
    for server in &options.servers {
        if *server != Server::Bare && server.supports(Store::Memory) {
            growth.memory.push(measure_memory(*server, options.scaled(IN_MEMORY)));
        }
    }
    for store in options.stores.iter().filter(|store| fill::is_supported(**store)) {
        growth.sweeps.extend(measure_sweeps(options, &mut databases, *store));
        for payload in PAYLOADS {
            ComparedServers::new(options, &mut databases, *store, payload).measure(
                options,
                options.scaled(SIZES[0]),
                &[DEFAULT_CONNECTIONS],
                &mut growth,
            );
        }
        let mut servers = ComparedServers::new(options, &mut databases, *store, PAYLOAD);
        for (size, connections) in
            SIZES.into_iter().zip([&CONNECTIONS[..], &[DEFAULT_CONNECTIONS], &[DEFAULT_CONNECTIONS]])
        {
            servers.measure(options, options.scaled(size), connections, &mut growth);
        }
    }
    growth
}

impl Options {
    fn scaled(&self, number: usize) -> usize {
        // With fewer sessions, concurrent requests would often be for the same session.
        ((number as f64 * self.scale) as usize).max(2000)
    }

    fn plan(&self, connections: usize) -> Plan {
        Plan { connections, warm_up: WARM_UP, duration: Duration::from_secs_f64(self.seconds) }
    }
}

/// The compared servers. All have the same sessions.
struct ComparedServers(Vec<ComparedServer>);

struct ComparedServer {
    server: Server,
    instance: Instance,
    sessions: Sessions,
    visitors: Visitors,
}

impl ComparedServers {
    fn new(options: &Options, databases: &mut DatabaseServers, store: Store, payload: usize) -> Self {
        let servers = [Server::HandWritten, Server::SessionRocket];
        let servers = servers.into_iter().filter(|server| options.servers.contains(server)).map(|server| {
            let instance = databases.create(store);
            let sessions = Sessions::new(server, store, &instance, payload);
            ComparedServer { server, instance, sessions, visitors: fill::visitors() }
        });
        Self(servers.collect())
    }

    /// Adds sessions up to a total, and measures each server with each number of connections.
    fn measure(&mut self, options: &Options, sessions: usize, connections: &[usize], growth: &mut Growth) {
        for server in &mut self.0 {
            server.sessions.grow(sessions);
            server.visitors.grow(sessions);
        }
        for round in 1..=options.rounds {
            for server in &mut self.0 {
                server.measure(options, round, connections, &mut growth.measurements);
            }
        }
    }
}

impl ComparedServer {
    fn measure(&mut self, options: &Options, round: u32, connections: &[usize], measurements: &mut Vec<Measurement>) {
        let site = Site::start(self.server, &self.instance.url);
        self.sessions.warm_page_cache();
        for connections in connections {
            for route in [Route::Get, Route::Count] {
                let plan = options.plan(*connections);
                let measured = self.visitors.measure(site.port, route, plan, || cpu_times(&site, &self.instance));
                measured.assert_no_lost_updates(self.server);
                let measurement = Measurement {
                    round,
                    store: self.sessions.store,
                    server: self.server,
                    route: route.path()[1..].to_owned(),
                    sessions: self.visitors.number(),
                    payload: self.sessions.payload,
                    connections: *connections,
                    figures: Statistics::of(&measured),
                };
                println!("{measurement}");
                measurements.push(measurement);
            }
        }
    }
}

fn cpu_times(site: &Site, instance: &Instance) -> CpuTimes {
    [cpu::time(site.process()), instance.database.map(cpu::time).unwrap_or_default()]
}

/// Measures each route before, during and after a sweep of many expired sessions.
fn measure_sweeps(options: &Options, databases: &mut DatabaseServers, store: Store) -> Vec<Sweep> {
    if !options.servers.contains(&Server::SessionRocket) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for route in [Route::Get, Route::Count] {
        let instance = databases.create(store);
        let mut sessions = Sessions::new(Server::SessionRocket, store, &instance, PAYLOAD);
        let (live, expired) = (options.scaled(SIZES[0]), options.scaled(EXPIRED));
        sessions.grow(live);
        sessions.add_expired(expired);
        let mut visitors = fill::visitors();
        visitors.grow(live);
        let measure = |site: &Site, visitors: &mut Visitors, plan: Plan| -> Measured<CpuTimes> {
            let measured = visitors.measure(site.port, route, plan, || cpu_times(site, &instance));
            measured.assert_no_lost_updates(Server::SessionRocket);
            measured
        };
        let plan = options.plan(DEFAULT_CONNECTIONS);
        let site = Site::start_with(Server::SessionRocket, &instance.url, &[]);
        let before = measure(&site, &mut visitors, plan);
        drop(site);
        let site =
            Site::start_with(Server::SessionRocket, &instance.url, &[("ROCKET_SESSION", "{sweep_interval=\"1 s\"}")]);
        // The warm-up: the second in which the sweep starts is not measured.
        measure(&site, &mut visitors, Plan { duration: Duration::ZERO, ..plan });
        let step = Plan { warm_up: Duration::ZERO, duration: Duration::from_millis(250), ..plan };
        let mut during = measure(&site, &mut visitors, step);
        while sessions.has_expired() {
            during.extend(measure(&site, &mut visitors, step));
        }
        let after = measure(&site, &mut visitors, plan);
        let seconds = during.duration.as_secs_f64() + WARM_UP.as_secs_f64();
        let [before, during, after] = [before, during, after].map(|measured| Statistics::of(&measured));
        let sweep = Sweep { store, route: route.path()[1..].to_owned(), expired, seconds, before, during, after };
        println!("{sweep}");
        all.push(sweep);
        drop(site);
    }
    all
}

/// Measures by how much a server's process grows per session.
fn measure_memory(server: Server, sessions: usize) -> Memory {
    let site = Site::start(server, "memory:");
    // The first requests also allocate memory that does not depend on the number of sessions.
    Visitors::new(site.port, 1000);
    let before = cpu::memory(site.process());
    let sessions = sessions - 1000;
    Visitors::new(site.port, sessions);
    let bytes = cpu::memory(site.process()).saturating_sub(before);
    let memory = Memory { server, sessions, bytes_each: bytes as f64 / sessions as f64 };
    println!("memory of {sessions} sessions in {}: {:.0} bytes each", server.name(), memory.bytes_each);
    memory
}

impl std::fmt::Display for Measurement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { round, store, server, route, sessions, payload, connections, figures } = self;
        let (store, server) = (store.name(), server.name());
        write!(f, "{round} {store:13} {server:14} {route:6} x{connections:<3} {sessions:8} of {payload:5} B {figures}")
    }
}

impl std::fmt::Display for Sweep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { store, route, expired, seconds, before, during, after } = self;
        writeln!(f, "sweep of {expired} in {seconds:.1} s, {} {route}", store.name())?;
        write!(f, "  before {before}\n  during {during}\n  after  {after}")
    }
}
