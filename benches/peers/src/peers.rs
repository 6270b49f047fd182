//! The servers side by side: rounds in which each has its turn.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cpu;
use crate::figures::{Figures, Used};
use crate::places::{Databases, Place, Store};
use crate::sites::{Server, Site};
use crate::visitors::{Cookies, Plan, Route, Visitors};

/// The number of sessions, unless `--sessions` says otherwise.
pub const SESSIONS: usize = 2000;
const WARM_UP: Duration = Duration::from_secs(1);

/// What to measure.
pub struct Wanted {
    pub stores: Vec<Store>,
    pub servers: Vec<Server>,
    pub rounds: u32,
    pub seconds: f64,
    pub sessions: usize,
    pub connections: usize,
}

/// One measurement of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub round: u32,
    pub store: Store,
    pub server: Server,
    /// Without the slash.
    pub route: String,
    pub connections: usize,
    #[serde(flatten)]
    pub figures: Figures,
}

/// Measures all that is wanted, round by round.
pub fn run(wanted: &Wanted) -> Vec<Measured> {
    let mut databases = Databases::default();
    let mut all = Vec::new();
    for round in 1..=wanted.rounds {
        for store in &wanted.stores {
            Turn { wanted, round, store: *store, databases: &mut databases, all: &mut all }.take();
        }
    }
    all
}

/// One store in one round.
struct Turn<'a> {
    wanted: &'a Wanted,
    round: u32,
    store: Store,
    databases: &'a mut Databases,
    all: &'a mut Vec<Measured>,
}

impl Turn<'_> {
    fn take(mut self) {
        let cookies = self.cookies();
        self.bare(cookies.clone());
        let servers: Vec<Server> =
            self.wanted.servers.iter().copied().filter(|server| server.has(self.store)).collect();
        for server in servers {
            if server != Server::Bare {
                self.server(server);
            }
        }
        self.bare(cookies);
    }

    /// What a browser sends to our server, for the one without sessions.
    fn cookies(&mut self) -> Vec<String> {
        let place = self.databases.place(if self.store.is_cookie() { self.store } else { Store::Memory });
        let site = Site::start(Server::SessionRocket, &place.url);
        Visitors::new(site.port, self.wanted.sessions).into_cookies()
    }

    fn bare(&mut self, cookies: Vec<String>) {
        if !self.wanted.servers.contains(&Server::Bare) {
            return;
        }
        let site = Site::start(Server::Bare, "");
        let visitors = &mut Visitors::known(Cookies::Known(cookies), self.wanted.sessions);
        for path in ["/get", "/count"] {
            self.measure(Server::Bare, &site, None, visitors, Route::Bare(path), self.wanted.connections);
        }
    }

    fn server(&mut self, server: Server) {
        let place = self.databases.place(self.store);
        let site = Site::start(server, &place.url);
        let visitors = &mut Visitors::new(site.port, self.wanted.sessions);
        let count = if self.store.is_cookie() { Route::CountSealed } else { Route::Count };
        for route in [Route::Get, count] {
            self.measure(server, &site, Some(&place), visitors, route, self.wanted.connections);
        }
        if server.keeps_updates() && !self.store.is_cookie() {
            let pair = (server == Server::HandWritten).then_some(Route::LoadAndSave);
            for route in [Route::Get, Route::Count].into_iter().chain(pair) {
                self.measure(server, &site, Some(&place), visitors, route, 1);
            }
        }
        drop(site);
        self.databases.remove(place);
    }

    fn measure(
        &mut self,
        server: Server,
        site: &Site,
        place: Option<&Place>,
        visitors: &mut Visitors,
        route: Route,
        connections: usize,
    ) {
        let plan = Plan { connections, warm_up: WARM_UP, duration: Duration::from_secs_f64(self.wanted.seconds) };
        let database = place.and_then(|place| place.database);
        let used = || -> Used { [cpu::used(site.process()), database.map(cpu::used).unwrap_or_default()] };
        let outcome = visitors.measure(site.port, route, plan, used);
        if server.keeps_updates() && route != Route::LoadAndSave {
            outcome.assert_kept(server);
        }
        let measured = Measured {
            round: self.round,
            store: self.store,
            server,
            route: route.path()[1..].to_owned(),
            connections,
            figures: Figures::of(&outcome),
        };
        println!("{measured}");
        self.all.push(measured);
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { round, store, server, route, connections, figures } = self;
        let (store, server) = (store.name(), server.name());
        write!(f, "{round} {store:13} {server:14} {route:13} x{connections:<3}")?;
        write!(f, " {figures}")
    }
}
