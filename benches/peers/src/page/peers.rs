//! The section that compares the servers.

use super::{color, median_rate, number, rate, run_details, table, write_chart};
use crate::chart::{self, BarRow};
use crate::peers::{Measurement, SESSIONS};
use crate::results::{Run, Runs};
use crate::sites::{Allocator, Server};
use crate::statistics::{Median, Statistics};
use crate::stores::Store;

const ROUTES: [(&str, &str); 2] = [("get", "Reading"), ("count", "Writing")];

const OTHERS: [Server; 3] = [Server::Flex, Server::Tower, Server::Actix];

/// Writes the chart. Returns a table of this library's rates as ratios to those of other servers.
pub fn at_a_glance(run: &Run<Vec<Measurement>>) -> String {
    let figures = &Table(&run.figures);
    write_chart("requests.svg", &figures.chart());
    let rows = figures.stores().map(|store| {
        let ratios = ROUTES.map(|(route, _)| {
            let ratio = |other| number(figures.ratio(store, [Server::SessionRocket, other], [route; 2], false), 2);
            let others = OTHERS.into_iter().filter_map(|other| {
                let rate = figures.median(store, other, route, |figures| figures.rate)?.value;
                Some((other, rate))
            });
            let fastest = others.max_by(|(_, one), (_, other)| one.total_cmp(other));
            let of_fastest =
                fastest.map_or("–".to_owned(), |(other, _)| format!("{}: {}", other.title(), ratio(other)));
            [ratio(Server::Bare), ratio(Server::HandWritten), of_fastest]
        });
        [store.title().to_owned()].into_iter().chain(ratios.into_iter().flatten()).collect()
    });
    let head = [
        "",
        "reads: of bare",
        "of hand-written",
        "of the fastest other library",
        "writes: of bare",
        "of hand-written",
        "of the fastest other library",
    ];
    let rows: Vec<Vec<String>> = rows.collect();
    format!(
        "![Requests per second by library and store](performance/requests.svg)\n\n\
         The requests per second of session-rocket, as a ratio. \"Bare\" is Rocket without sessions; \"hand-written\" is sqlx or\n\
         redis-rs in the handlers. Each ratio is the median of the ratios of the rounds, so it can differ from the ratio of two\n\
         medians.\n\n{}",
        table(&head, &rows)
    )
}

pub fn section(allocator: Allocator, measured: &Run<Vec<Measurement>>) -> String {
    let figures = &Table(&measured.figures);
    let connections = measured.figures.iter().map(|one| one.connections).max().unwrap_or_default();
    let mut text = format!("## Comparison\n\n{}", run_details(allocator, measured));
    text += &format!(
        "{SESSIONS} sessions with one number each, {connections} connections, each request for a random session. Reading is\n\
         `/get`, which returns the number; writing is `/count`, which adds one and saves. Every response is checked. Each\n\
         figure is the median of the rounds, with the minimum and the maximum; each round measures every server.\n\n\
         - \"Of bare\": the ratio to Rocket without sessions, which gets the same requests before and after the other servers.\n\
         - \"Of hand-written\": the ratio to sqlx or redis-rs in the handlers: one statement to read, and one\n  \
         `UPDATE … RETURNING` to write (Redis: a read, and a script that compares and sets).\n\
         - CPU: processor time per request, of the server + of the database's processes.\n\
         - Lost: the share of confirmed increments that are missing. It grows with the number of concurrent requests for one\n  \
         session, which is small here.\n\n"
    );
    for store in figures.stores() {
        text += &format!("### {}\n\n", store.title());
        for (route, heading) in ROUTES {
            text += &format!("{heading} (`/{route}`):\n\n{}", figures.of_store(store, route));
        }
    }
    text += &figures.one_at_a_time();
    text
}

/// The section that compares the rates with both allocators.
pub fn allocators(runs: &Runs<Vec<Measurement>>) -> String {
    let [Some(mimalloc), Some(system)] = Allocator::ALL.map(|allocator| runs.get(&allocator)) else {
        return String::new();
    };
    let source = format!("`{}`, {}", system.command, system.date);
    let [mimalloc, system] = [mimalloc, system].map(|run| Table(&run.figures));
    let rows = mimalloc.stores().map(|store| {
        let cells = Server::ALL.map(|server| {
            let ratio = |(route, _)| {
                let [mimalloc, system] = [&mimalloc, &system].map(|run| run.median(store, server, route, |f| f.rate));
                Some(system?.value / mimalloc?.value)
            };
            let [Some(get), Some(count)] = ROUTES.map(ratio) else { return "–".to_owned() };
            format!("{get:.2}, {count:.2}")
        });
        [store.title().to_owned()].into_iter().chain(cells).collect()
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let head: Vec<&str> = [""].into_iter().chain(Server::ALL.map(Server::title)).collect();
    format!(
        "### The system's allocator\n\n\
         Requests per second with the system's allocator, as a ratio to those with mimalloc, for `/get` and `/count`.\n\
         {source}.\n\n{}",
        table(&head, &rows)
    )
}

/// All measurements of a run.
struct Table<'a>(&'a [Measurement]);

impl Table<'_> {
    fn stores(&self) -> impl Iterator<Item = Store> {
        Store::ALL.into_iter().filter(|store| self.0.iter().any(|one| one.store == *store))
    }

    /// The measurements of one server, with one connection or with many.
    fn of(&self, store: Store, server: Server, route: &str, is_single: bool) -> impl Iterator<Item = &Measurement> {
        self.0.iter().filter(move |one| {
            (one.store, one.server, one.connections == 1) == (store, server, is_single) && one.route == route
        })
    }

    fn median(&self, store: Store, server: Server, route: &str, figure: fn(&Statistics) -> f64) -> Option<Median> {
        Median::of(self.of(store, server, route, false).map(|one| figure(&one.figures)))
    }

    /// The ratio of a server's rate to another server's rate in the same round.
    fn ratio(
        &self,
        store: Store,
        [server, other]: [Server; 2],
        [route, other_route]: [&str; 2],
        is_single: bool,
    ) -> Option<Median> {
        Median::of(self.of(store, server, route, is_single).filter_map(|one| {
            let others = self.of(store, other, other_route, is_single).filter(|other| other.round == one.round);
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
        // Removes empty columns.
        for column in [7, 6] {
            if rows.iter().all(|row| row[column] == "–") {
                head.remove(column);
                rows.iter_mut().for_each(|row| _ = row.remove(column));
            }
        }
        table(&head, &rows)
    }

    fn one_at_a_time(&self) -> String {
        let [session_rocket, hand_written] = [Server::SessionRocket, Server::HandWritten];
        let is_measured = |store: &Store, server| self.of(*store, server, "get", true).next().is_some();
        let both = self.stores().filter(|store| is_measured(store, session_rocket) && is_measured(store, hand_written));
        let rows = both.map(|store| {
            let rate = |server, route| {
                median_rate(Median::of(self.of(store, server, route, true).map(|one| one.figures.rate)))
            };
            let ratio = |routes| number(self.ratio(store, [session_rocket, hand_written], routes, true), 2);
            vec![
                store.title().to_owned(),
                rate(hand_written, "get"),
                rate(session_rocket, "get"),
                ratio(["get", "get"]),
                rate(hand_written, "count"),
                rate(hand_written, "load_and_save"),
                rate(session_rocket, "count"),
                ratio(["count", "load_and_save"]),
            ]
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            return String::new();
        }
        let head = [
            "",
            "`/get`, hand-written",
            "`/get`, session-rocket",
            "ratio",
            "`/count`, hand-written, one statement",
            "hand-written, load and save",
            "`/count`, session-rocket",
            "ratio to load and save",
        ];
        format!(
            "### One request at a time\n\n\
             Requests per second over a single connection, so that calls cannot be grouped.\n\n{}",
            table(&head, &rows)
        )
    }

    fn chart(&self) -> String {
        let groups = self.stores().map(|store| {
            let bars = Server::ALL.into_iter().filter_map(|server| {
                let values =
                    ROUTES.map(|(route, _)| Some(self.median(store, server, route, |figures| figures.rate)?.value));
                values.iter().any(Option::is_some).then(|| BarRow {
                    label: server.title(),
                    color: color(server),
                    values,
                })
            });
            (store.title(), bars.collect())
        });
        let columns = ROUTES.map(|(route, heading)| format!("{heading} (/{route})"));
        chart::bars("Requests per second", columns.each_ref().map(String::as_str), &groups.collect::<Vec<_>>())
    }
}
