//! The section on many sessions, many connections, large sessions and a sweep.

use super::{color, number, rate, run_details, table, write_chart};
use crate::chart::{self, Series, thousands};
use crate::growth::{Growth, Measurement};
use crate::results::Run;
use crate::sites::{Allocator, Server};
use crate::statistics::{Median, Statistics};
use crate::stores::Store;

const SERVERS: [Server; 2] = [Server::HandWritten, Server::SessionRocket];
const ROUTES: [&str; 2] = ["get", "count"];

/// A quantity that varies while all others are constant.
struct Axis {
    heading: &'static str,
    column: &'static str,
    text: &'static str,
    /// The value of this quantity in a measurement.
    value: fn(&Measurement) -> usize,
    /// Whether all other quantities of a measurement are those of the reference, which is the second argument.
    belongs: fn(&Measurement, &Measurement) -> bool,
}

const AXES: [Axis; 3] = [
    Axis {
        heading: "Sessions stored",
        column: "sessions",
        text: "Each session has a payload of 200 bytes; requests are for any of them. Before each measurement, the files of the\n\
               database are read once, so that they are in the page cache.",
        value: |one| one.sessions,
        belongs: |one, reference| (one.payload, one.connections) == (reference.payload, reference.connections),
    },
    Axis {
        heading: "Connections",
        column: "connections",
        text: "Each connection has one request in flight.",
        value: |one| one.connections,
        belongs: |one, reference| (one.payload, one.sessions) == (reference.payload, reference.sessions),
    },
    Axis {
        heading: "Size of a session",
        column: "bytes",
        text: "The size of the payload as JSON.",
        value: |one| one.payload,
        belongs: |one, reference| (one.connections, one.sessions) == (reference.connections, reference.sessions),
    },
];

pub fn section(allocator: Allocator, measured: &Run<Growth>) -> String {
    let measurements = &measured.figures.measurements;
    let mut text = format!("## Growth\n\n{}", run_details(allocator, measured));
    if let Some(reference) = reference(measurements) {
        for axis in &AXES {
            text += &axis.section(measurements, &reference);
        }
        for route in ROUTES {
            let name = format!("growth-{route}.svg");
            write_chart(&name, &chart(measurements, &reference, route));
            text += &format!("![/{route} by sessions stored](performance/{name})\n\n");
        }
    }
    text += &sweeps(&measured.figures);
    text += &memory(&measured.figures);
    text
}

/// The reference: the payload and connections of the largest measurement, with the fewest sessions.
fn reference(measurements: &[Measurement]) -> Option<Measurement> {
    let largest = measurements.iter().max_by_key(|one| one.sessions)?;
    let sessions = measurements.iter().map(|one| one.sessions).min()?;
    Some(Measurement { sessions, ..largest.clone() })
}

impl Axis {
    fn section(&self, measurements: &[Measurement], reference: &Measurement) -> String {
        let selected: Vec<&Measurement> = measurements.iter().filter(|one| (self.belongs)(one, reference)).collect();
        let mut keys: Vec<(Store, &str, usize)> =
            selected.iter().map(|one| (one.store, one.route.as_str(), (self.value)(one))).collect();
        keys.sort_by_key(|(store, route, value)| (*store, *route != "get", *value));
        keys.dedup();
        let rows = keys.into_iter().map(|(store, route, value)| {
            let at = |server: Server, round: Option<u32>, figure: fn(&Statistics) -> f64| {
                let matching =
                    selected.iter().filter(|one| (one.store, one.server, one.route.as_str()) == (store, server, route));
                let selected =
                    matching.filter(|one| (self.value)(one) == value && round.is_none_or(|round| round == one.round));
                Median::of(selected.map(|one| figure(&one.figures)))
            };
            let rounds = selected.iter().map(|one| one.round).max().unwrap_or_default();
            let ratios = (1..=rounds).filter_map(|round| {
                let [hand_written, session_rocket] =
                    SERVERS.map(|server| at(server, Some(round), |figures| figures.rate));
                Some(session_rocket?.value / hand_written?.value)
            });
            let mut row = vec![store.title().to_owned(), format!("`/{route}`"), thousands(value as f64)];
            for server in SERVERS {
                row.push(rate(at(server, None, |figures| figures.rate), at(server, None, |figures| figures.failed)));
                row.push(number(at(server, None, |figures| figures.p99), 2));
            }
            row.push(number(Median::of(ratios), 2));
            row
        });
        let head = [
            "",
            "",
            self.column,
            "hand-written, requests/s",
            "p99 ms",
            "session-rocket, requests/s",
            "p99 ms",
            "ratio",
        ];
        let rows: Vec<_> = rows.collect();
        format!("### {}\n\n{}\n\n{}", self.heading, self.text, table(&head, &rows))
    }
}

fn chart(measurements: &[Measurement], reference: &Measurement, route: &str) -> String {
    let axis = &AXES[0];
    let selected: Vec<&Measurement> =
        measurements.iter().filter(|one| (axis.belongs)(one, reference) && one.route == route).collect();
    let mut sizes: Vec<usize> = selected.iter().map(|one| one.sessions).collect();
    let mut stores: Vec<Store> = selected.iter().map(|one| one.store).collect();
    sizes.sort_unstable();
    sizes.dedup();
    stores.sort_unstable();
    stores.dedup();
    let series_of = |store: Store, server: Server| {
        let values = sizes.iter().filter_map(|size| {
            let selected =
                selected.iter().filter(|one| (one.store, one.server, one.sessions) == (store, server, *size));
            Some(Median::of(selected.map(|one| one.figures.rate))?.value)
        });
        let name = if matches!(store, Store::Postgres) { "PostgreSQL" } else { "SQLite" };
        Series {
            label: format!("{name}, {}", server.title()),
            color: color(server),
            is_dashed: store == Store::Postgres,
            values: values.collect(),
        }
    };
    let series: Vec<Series> = stores
        .iter()
        .flat_map(|store| SERVERS.map(|server| series_of(*store, server)))
        .filter(|series| !series.values.is_empty())
        .collect();
    let sizes: Vec<String> = sizes.iter().map(|size| thousands(*size as f64)).collect();
    chart::lines(&format!("/{route} by sessions stored: requests per second"), &sizes, &series)
}

fn sweeps(growth: &Growth) -> String {
    if growth.sweeps.is_empty() {
        return String::new();
    }
    let rows = growth.sweeps.iter().map(|sweep| {
        let mut row = vec![sweep.store.title().to_owned(), format!("`/{}`", sweep.route)];
        for figures in [&sweep.before, &sweep.during, &sweep.after] {
            row.push(format!("{}/s, {:.2}", thousands(figures.rate), figures.p99));
        }
        row.push(format!("{:.1} s", sweep.seconds));
        row
    });
    let expired = thousands(growth.sweeps[0].expired as f64);
    format!(
        "### During a sweep\n\n\
         Requests per second, and p99 in milliseconds, before, during and after a sweep that removes {expired} expired\n\
         sessions in batches of a thousand.\n\n{}",
        table(&["", "", "before", "during", "after", "duration of the sweep"], &rows.collect::<Vec<_>>())
    )
}

fn memory(growth: &Growth) -> String {
    let Some(first) = growth.memory.first() else { return String::new() };
    let rows = growth.memory.iter().map(|memory| vec![memory.server.title().to_owned(), thousands(memory.bytes_each)]);
    format!(
        "### Memory\n\n\
         The growth of the server's process per session, with {} sessions of one number in its memory store.\n\n{}",
        thousands(first.sessions as f64),
        table(&["", "bytes per session"], &rows.collect::<Vec<_>>())
    )
}
