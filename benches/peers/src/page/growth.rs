//! Many sessions, many connections, large sessions, a sweep.

use super::{color, number, put_chart, rate, run, table};
use crate::chart::{self, Line, thousands};
use crate::figures::{Figures, Median};
use crate::growth::{Grown, Growth};
use crate::places::Store;
use crate::results::Run;
use crate::sites::Server;

const SERVERS: [Server; 2] = [Server::HandWritten, Server::SessionRocket];
const ROUTES: [&str; 2] = ["get", "count"];

/// What is changed while all else stays.
struct Axis {
    heading: &'static str,
    column: &'static str,
    text: &'static str,
    /// The place of a measurement on it.
    place: fn(&Grown) -> usize,
    /// Whether a measurement belongs to it, where `usual` is the commonest of all.
    belongs: fn(&Grown, &Grown) -> bool,
}

const AXES: [Axis; 3] = [
    Axis {
        heading: "Sessions stored",
        column: "sessions",
        text: "Each holds a payload of 200 bytes; requests are for any of them. The files of the database are read once\n\
               before each turn, for a system that was given other things to do forgets them.",
        place: |one| one.sessions,
        belongs: |one, usual| (one.payload, one.connections) == (usual.payload, usual.connections),
    },
    Axis {
        heading: "Connections",
        column: "connections",
        text: "Of which each has one request on its way at a time.",
        place: |one| one.connections,
        belongs: |one, usual| (one.payload, one.sessions) == (usual.payload, usual.sessions),
    },
    Axis {
        heading: "Size of a session",
        column: "bytes",
        text: "The payload as JSON.",
        place: |one| one.payload,
        belongs: |one, usual| (one.connections, one.sessions) == (usual.connections, usual.sessions),
    },
];

pub fn section(measured: &Run<Growth>) -> String {
    let grown = &measured.figures.grown;
    let mut text = format!("## Growth\n\n{}", run(measured));
    if let Some(usual) = usual(grown) {
        for axis in &AXES {
            text += &axis.section(grown, &usual);
        }
        for route in ROUTES {
            let name = format!("growth-{route}.svg");
            put_chart(&name, &chart(grown, &usual, route));
            text += &format!("![/{route} by sessions stored](performance/{name})\n\n");
        }
    }
    text += &sweeps(&measured.figures);
    text += &memory(&measured.figures);
    text
}

/// The commonest payload and number of connections, with the fewest sessions.
fn usual(grown: &[Grown]) -> Option<Grown> {
    let largest = grown.iter().max_by_key(|one| one.sessions)?;
    let sessions = grown.iter().map(|one| one.sessions).min()?;
    Some(Grown { sessions, ..largest.clone() })
}

impl Axis {
    fn section(&self, grown: &[Grown], usual: &Grown) -> String {
        let mine: Vec<&Grown> = grown.iter().filter(|one| (self.belongs)(one, usual)).collect();
        let mut keys: Vec<(Store, &str, usize)> =
            mine.iter().map(|one| (one.store, one.route.as_str(), (self.place)(one))).collect();
        keys.sort_by_key(|(store, route, place)| (*store, *route != "get", *place));
        keys.dedup();
        let rows = keys.into_iter().map(|(store, route, place)| {
            let at = |server: Server, round: Option<u32>, figure: fn(&Figures) -> f64| {
                let some =
                    mine.iter().filter(|one| (one.store, one.server, one.route.as_str()) == (store, server, route));
                let here =
                    some.filter(|one| (self.place)(one) == place && round.is_none_or(|round| round == one.round));
                Median::of(here.map(|one| figure(&one.figures)))
            };
            let rounds = mine.iter().map(|one| one.round).max().unwrap_or_default();
            let ratios = (1..=rounds).filter_map(|round| {
                let [hand, ours] = SERVERS.map(|server| at(server, Some(round), |figures| figures.rate));
                Some(ours?.middle / hand?.middle)
            });
            let mut row = vec![store.title().to_owned(), format!("`/{route}`"), thousands(place as f64)];
            for server in SERVERS {
                row.push(rate(at(server, None, |figures| figures.rate), at(server, None, |figures| figures.failed)));
                row.push(number(at(server, None, |figures| figures.p99), 2));
            }
            row.push(number(Median::of(ratios), 2));
            row
        });
        let head = ["", "", self.column, "by hand, requests/s", "p99 ms", "here, requests/s", "p99 ms", "ratio"];
        let rows: Vec<_> = rows.collect();
        format!("### {}\n\n{}\n\n{}", self.heading, self.text, table(&head, &rows))
    }
}

fn chart(grown: &[Grown], usual: &Grown, route: &str) -> String {
    let axis = &AXES[0];
    let mine: Vec<&Grown> = grown.iter().filter(|one| (axis.belongs)(one, usual) && one.route == route).collect();
    let mut places: Vec<usize> = mine.iter().map(|one| one.sessions).collect();
    let mut stores: Vec<Store> = mine.iter().map(|one| one.store).collect();
    places.sort_unstable();
    places.dedup();
    stores.sort_unstable();
    stores.dedup();
    let line = |store: Store, server: Server| {
        let values = places.iter().filter_map(|place| {
            let here = mine.iter().filter(|one| (one.store, one.server, one.sessions) == (store, server, *place));
            Some(Median::of(here.map(|one| one.figures.rate))?.middle)
        });
        let name = if matches!(store, Store::Postgres) { "PostgreSQL" } else { "SQLite" };
        Line {
            label: format!("{name}, {}", server.title()),
            color: color(server),
            is_dashed: store == Store::Postgres,
            values: values.collect(),
        }
    };
    let lines: Vec<Line> = stores
        .iter()
        .flat_map(|store| SERVERS.map(|server| line(*store, server)))
        .filter(|l| !l.values.is_empty())
        .collect();
    let places: Vec<String> = places.iter().map(|place| thousands(*place as f64)).collect();
    chart::lines(&format!("/{route} by sessions stored: requests a second"), &places, &lines)
}

fn sweeps(growth: &Growth) -> String {
    if growth.swept.is_empty() {
        return String::new();
    }
    let rows = growth.swept.iter().map(|swept| {
        let mut row = vec![swept.store.title().to_owned(), format!("`/{}`", swept.route)];
        for figures in [&swept.before, &swept.during, &swept.after] {
            row.push(format!("{}/s, {:.2}", thousands(figures.rate), figures.p99));
        }
        row.push(format!("{:.1} s", swept.seconds));
        row
    });
    let expired = thousands(growth.swept[0].expired as f64);
    format!(
        "### While expired sessions are swept\n\n\
         Requests a second, and p99 in milliseconds, before, during and after the sweeper removes {expired} expired\n\
         sessions, a thousand at a time.\n\n{}",
        table(&["", "", "before", "during", "after", "the sweep takes"], &rows.collect::<Vec<_>>())
    )
}

fn memory(growth: &Growth) -> String {
    let Some(first) = growth.held.first() else { return String::new() };
    let rows = growth.held.iter().map(|held| vec![held.server.title().to_owned(), thousands(held.bytes_each)]);
    format!(
        "### Memory\n\n\
         Bytes by which the server's process grows for each of {} sessions in its memory store, each of which holds one\n\
         number.\n\n{}",
        thousands(first.sessions as f64),
        table(&["", "bytes a session"], &rows.collect::<Vec<_>>())
    )
}
