//! `docs/performance.md` and its charts, from the figures of both runs.

mod growth;
mod peers;

use crate::chart::thousands;
use crate::figures::Median;
use crate::results::{self, Results, Run};
use crate::sites::Server;

const HEAD: &str = "\
# Performance

What sessions cost: beside code written by hand, and beside other libraries. Written by `cargo xtask bench --peers` and
`cargo xtask bench --growth`, from [these figures](performance/results.json). What is measured, and how, is in
[benches/peers](../benches/peers).

Ratios carry over to other machines, absolute figures do not. The server, the database and the load share one machine
and its cores: what the database saves, the server can use. Above about 100,000 requests a second the load itself is
the limit, and ratios there are closer to 1 than they would be.

";

/// What a reader of the figures may ask.
const NOTES: &str = include_str!("../notes.md");

/// Writes the page, and the charts it shows.
///
/// # Panics
/// When they cannot be written.
pub fn write(results: &Results) {
    let mut page = HEAD.to_owned() + NOTES;
    if let Some(run) = &results.peers {
        page += &peers::section(run);
    }
    if let Some(run) = &results.growth {
        page += &growth::section(run);
    }
    results::put(&results::docs().join("performance.md"), &(page.trim_end().to_owned() + "\n"));
}

fn put_chart(name: &str, svg: &str) {
    results::put(&results::docs().join("performance").join(name), svg);
}

/// How and where a run was made.
fn run<T>(run: &Run<T>) -> String {
    let Run { command, date, machine, versions, seconds, rounds, .. } = run;
    format!(
        "`{command}`, {date}.\n\
         Rounds: {rounds}. Seconds for each figure: {seconds}, after 1 of warm-up.\n\n\
         - Machine: {machine}\n- Versions: {versions}\n\n"
    )
}

/// A table in Markdown: its head, then its rows.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        table += &format!("| {} |\n", row.join(" | "));
    }
    table + "\n"
}

/// Requests a second: the median, the least and the greatest; and how many failed, if any did.
fn rate(median: Option<Median>, failed: Option<Median>) -> String {
    let Some(Median { middle, least, greatest }) = median else { return "–".to_owned() };
    let rate = format!("**{}** ({}–{})", thousands(middle), thousands(least), thousands(greatest));
    match failed.filter(|failed| failed.greatest > 0.0) {
        Some(failed) => format!("{rate}, up to {:.2} % failed", failed.greatest * 100.0),
        None => rate,
    }
}

/// Requests a second: the median alone.
fn middle(median: Option<Median>) -> String {
    median.map_or("–".to_owned(), |median| thousands(median.middle))
}

/// A figure with so many decimal places.
fn number(median: Option<Median>, places: usize) -> String {
    median.map_or("–".to_owned(), |median| format!("{:.places$}", median.middle))
}

fn color(server: Server) -> &'static str {
    match server {
        Server::Bare => "#8c959f",
        Server::HandWritten => "#bf8700",
        Server::SessionRocket => "#0969da",
        Server::Flex => "#8250df",
        Server::Tower => "#1a7f37",
    }
}
