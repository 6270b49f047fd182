//! The servers side by side.

use super::{color, middle, number, put_chart, rate, run, table};
use crate::chart::{self, Bar};
use crate::figures::{Figures, Median};
use crate::peers::{Measured, SESSIONS};
use crate::places::Store;
use crate::results::Run;
use crate::sites::Server;

const ROUTES: [(&str, &str); 2] = [("get", "Reading"), ("count", "Writing")];

pub fn section(measured: &Run<Vec<Measured>>) -> String {
    let figures = &Table(&measured.figures);
    let connections = measured.figures.iter().map(|one| one.connections).max().unwrap_or_default();
    let mut text = format!("## Beside others\n\n{}", run(measured));
    text += &format!(
        "{SESSIONS} sessions that hold one number, {connections} connections, each request for a session picked at\n\
         random. Reading is `/get`, which answers the number; writing is `/count`, which adds one and saves. Every\n\
         answer is checked. Each figure is the median of the rounds, with the least and the greatest; in a round, each\n\
         server has its turn.\n\n\
         - \"Of bare\" compares with Rocket without sessions, which is sent the very same requests at the start and at\n  \
         the end of the same turn.\n\
         - \"Of hand-written\" compares with sqlx, or redis-rs, in the handlers: one statement to read, and one\n  \
         `UPDATE … RETURNING` to write (Redis: a read, and a script that compares and sets).\n\
         - CPU is processor time for a request, in the server and in the database's processes.\n\
         - \"Lost\" is the share of increments that were answered with success and are not there. It grows with the\n  \
         requests that meet in one session, of which there are few here.\n\n"
    );
    for (route, heading) in ROUTES {
        let name = format!("{route}.svg");
        put_chart(&name, &figures.chart(route, &format!("{heading} (/{route}): requests a second")));
        text += &format!("![{heading}: requests a second by library and store](performance/{name})\n\n");
    }
    for store in figures.stores() {
        text += &format!("### {}\n\n", store.title());
        for (route, heading) in ROUTES {
            text += &format!("{heading} (`/{route}`):\n\n{}", figures.of_store(store, route));
        }
    }
    text += &figures.alone();
    text
}

/// All measurements of a run.
struct Table<'a>(&'a [Measured]);

impl Table<'_> {
    fn stores(&self) -> impl Iterator<Item = Store> {
        Store::ALL.into_iter().filter(|store| self.0.iter().any(|one| one.store == *store))
    }

    /// Those of one server, over many connections or over one.
    fn of(&self, store: Store, server: Server, route: &str, is_alone: bool) -> impl Iterator<Item = &Measured> {
        self.0.iter().filter(move |one| {
            (one.store, one.server, one.connections == 1) == (store, server, is_alone) && one.route == route
        })
    }

    fn median(&self, store: Store, server: Server, route: &str, figure: fn(&Figures) -> f64) -> Option<Median> {
        Median::of(self.of(store, server, route, false).map(|one| figure(&one.figures)))
    }

    /// The rate in relation to another server's in the same round.
    fn ratio(
        &self,
        store: Store,
        [server, other]: [Server; 2],
        [route, its]: [&str; 2],
        alone: bool,
    ) -> Option<Median> {
        Median::of(self.of(store, server, route, alone).filter_map(|one| {
            let others = self.of(store, other, its, alone).filter(|other| other.round == one.round);
            let rates: Vec<f64> = others.map(|other| other.figures.rate).collect();
            let mean = rates.iter().sum::<f64>() / rates.len() as f64;
            (!rates.is_empty()).then(|| one.figures.rate / mean)
        }))
    }

    fn of_store(&self, store: Store, route: &str) -> String {
        let servers = Server::ALL.into_iter().filter(|server| self.of(store, *server, route, false).next().is_some());
        let rows = servers.map(|server| {
            let median = |figure| self.median(store, server, route, figure);
            let ratio = |other| self.ratio(store, [server, other], [route, route], false);
            let name = server.title();
            let lost = median(|figures| figures.lost * 100.0).filter(|_| route == "count" && !store.is_cookie());
            vec![
                if server == Server::SessionRocket { format!("**{name}**") } else { name.to_owned() },
                rate(median(|figures| figures.rate), median(|figures| figures.failed)),
                number(median(|figures| figures.p50), 2),
                number(median(|figures| figures.p99), 2),
                format!("{} + {}", number(median(|f| f.cpu), 0), number(median(|f| f.database_cpu), 0)),
                number(ratio(Server::Bare), 2),
                number(ratio(Server::HandWritten).filter(|_| server != Server::Bare), 2),
                lost.filter(|_| server != Server::Bare).map_or("–".into(), |_| number(lost, 2) + " %"),
            ]
        });
        let mut head = vec!["", "requests/s", "p50 ms", "p99 ms", "CPU µs", "of bare", "of hand-written", "lost"];
        let mut rows: Vec<Vec<String>> = rows.collect();
        // Columns that say nothing.
        for column in [7, 6] {
            if rows.iter().all(|row| row[column] == "–") {
                head.remove(column);
                rows.iter_mut().for_each(|row| _ = row.remove(column));
            }
        }
        table(&head, &rows)
    }

    /// One request at a time.
    fn alone(&self) -> String {
        let [ours, hand] = [Server::SessionRocket, Server::HandWritten];
        let is_there = |store: &Store, server| self.of(*store, server, "get", true).next().is_some();
        let both = self.stores().filter(|store| is_there(store, ours) && is_there(store, hand));
        let rows = both.map(|store| {
            let rate =
                |server, route| middle(Median::of(self.of(store, server, route, true).map(|one| one.figures.rate)));
            let ratio = |routes| number(self.ratio(store, [ours, hand], routes, true), 2);
            vec![
                store.title().to_owned(),
                rate(hand, "get"),
                rate(ours, "get"),
                ratio(["get", "get"]),
                rate(hand, "count"),
                rate(hand, "load_and_save"),
                rate(ours, "count"),
                ratio(["count", "load_and_save"]),
            ]
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            return String::new();
        }
        let head = [
            "",
            "`/get` by hand",
            "`/get` here",
            "ratio",
            "`/count` by hand, one statement",
            "a load and a save by hand",
            "`/count` here",
            "ratio to the pair",
        ];
        format!(
            "### One request at a time\n\n\
             Requests a second over a single connection: there is nothing to gather with others.\n\n{}",
            table(&head, &rows)
        )
    }

    fn chart(&self, route: &str, title: &str) -> String {
        let groups = self.stores().map(|store| {
            let bars = Server::ALL.into_iter().filter_map(|server| {
                let value = self.median(store, server, route, |figures| figures.rate)?.middle;
                Some(Bar { label: server.title(), color: color(server), value })
            });
            (store.title(), bars.collect())
        });
        chart::bars(title, &groups.collect::<Vec<_>>())
    }
}
