//! Compares the servers, in rounds that measure every server on every store.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cpu;
use crate::sites::{Server, Site};
use crate::statistics::{CpuTimes, Statistics};
use crate::stores::{DatabaseServers, Instance, Store};
use crate::visitors::{Cookies, Plan, Route, Visitors};

/// The default of `--sessions`.
pub const SESSIONS: usize = 2000;
const WARM_UP: Duration = Duration::from_secs(1);

pub struct Options {
    pub stores: Vec<Store>,
    pub servers: Vec<Server>,
    pub rounds: u32,
    pub seconds: f64,
    pub sessions: usize,
    pub connections: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measurement {
    pub round: u32,
    pub store: Store,
    pub server: Server,
    /// The path without the slash.
    pub route: String,
    pub connections: usize,
    #[serde(flatten)]
    pub figures: Statistics,
}

pub fn run(options: &Options) -> Vec<Measurement> {
    let mut databases = DatabaseServers::default();
    let mut all = Vec::new();
    for round in 1..=options.rounds {
        for store in &options.stores {
            StoreRound { options, round, store: *store, databases: &mut databases, all: &mut all }.run();
        }
    }
    all
}

/// One store in one round.
struct StoreRound<'a> {
    options: &'a Options,
    round: u32,
    store: Store,
    databases: &'a mut DatabaseServers,
    all: &'a mut Vec<Measurement>,
}

impl StoreRound<'_> {
    fn run(mut self) {
        let cookies = self.cookies();
        self.measure_bare(cookies.clone());
        let servers: Vec<Server> =
            self.options.servers.iter().copied().filter(|server| server.supports(self.store)).collect();
        for server in servers {
            if server != Server::Bare {
                self.measure_server(server);
            }
        }
        self.measure_bare(cookies);
    }

    /// Cookies of session-rocket, for the requests to the server without sessions.
    fn cookies(&mut self) -> Vec<String> {
        let instance = self.databases.create(if self.store.is_cookie() { self.store } else { Store::Memory });
        let site = Site::start(Server::SessionRocket, &instance.url);
        Visitors::new(site.port, self.options.sessions).into_cookies()
    }

    fn measure_bare(&mut self, cookies: Vec<String>) {
        if !self.options.servers.contains(&Server::Bare) {
            return;
        }
        let site = Site::start(Server::Bare, "");
        let visitors = &mut Visitors::with_cookies(Cookies::Stored(cookies), self.options.sessions);
        for path in ["/get", "/count"] {
            self.measure(Server::Bare, &site, None, visitors, Route::Bare(path), self.options.connections);
        }
    }

    fn measure_server(&mut self, server: Server) {
        let instance = self.databases.create(self.store);
        let site = Site::start(server, &instance.url);
        let visitors = &mut Visitors::new(site.port, self.options.sessions);
        let count = if self.store.is_cookie() { Route::CountSealed } else { Route::Count };
        for route in [Route::Get, count] {
            self.measure(server, &site, Some(&instance), visitors, route, self.options.connections);
        }
        if server.must_keep_updates() && !self.store.is_cookie() {
            let load_and_save = (server == Server::HandWritten).then_some(Route::LoadAndSave);
            for route in [Route::Get, Route::Count].into_iter().chain(load_and_save) {
                self.measure(server, &site, Some(&instance), visitors, route, 1);
            }
        }
        drop(site);
        self.databases.remove(instance);
    }

    fn measure(
        &mut self,
        server: Server,
        site: &Site,
        instance: Option<&Instance>,
        visitors: &mut Visitors,
        route: Route,
        connections: usize,
    ) {
        let plan = Plan { connections, warm_up: WARM_UP, duration: Duration::from_secs_f64(self.options.seconds) };
        let database = instance.and_then(|instance| instance.database);
        let cpu_times = || -> CpuTimes { [cpu::time(site.process()), database.map(cpu::time).unwrap_or_default()] };
        let measured = visitors.measure(site.port, route, plan, cpu_times);
        if server.must_keep_updates() && route != Route::LoadAndSave {
            measured.assert_no_lost_updates(server);
        }
        let measurement = Measurement {
            round: self.round,
            store: self.store,
            server,
            route: route.path()[1..].to_owned(),
            connections,
            figures: Statistics::of(&measured),
        };
        println!("{measurement}");
        self.all.push(measurement);
    }
}

impl std::fmt::Display for Measurement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { round, store, server, route, connections, figures } = self;
        let (store, server) = (store.name(), server.name());
        write!(f, "{round} {store:13} {server:14} {route:13} x{connections:<3}")?;
        write!(f, " {figures}")
    }
}
