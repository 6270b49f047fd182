//! Writes `docs/performance.md` and its charts from the results of both runs.

mod growth;
mod peers;

use crate::chart::thousands;
use crate::results::{self, Results, Run};
use crate::sites::{Allocator, Server};
use crate::statistics::Median;

const HEAD: &str = "\
# Performance

What sessions cost, compared with hand-written code and other libraries. `cargo xtask bench --peers` and `cargo xtask bench
--growth` write this page from [these results](performance/results.json). [benches/peers](../benches/peers) says what is
measured, and how.

Compare ratios: absolute figures depend more on the machine. The server, the database and the load share one machine and
its cores, so if the database needs less time, the server gets more. Above about 100,000 requests a second, the load itself is the
limit, so those ratios are too close to 1; the processor times are not affected.

";

/// The hand-written answer, above the chart.
const ANSWER: &str = include_str!("../answer.md");

/// The hand-written explanation, below the chart.
const NOTES: &str = include_str!("../notes.md");

/// Writes the page and its charts.
///
/// # Panics
/// If a file cannot be written.
pub fn write(results: &Results) {
    let mut page = HEAD.to_owned() + ANSWER;
    let peers = results.peers.first_key_value();
    page += &peers.map(|(_, run)| peers::at_a_glance(run)).unwrap_or_default();
    page += NOTES;
    if let Some((allocator, run)) = peers {
        page += &peers::section(*allocator, run);
        page += &peers::allocators(&results.peers);
    }
    if let Some((allocator, run)) = results.growth.first_key_value() {
        page += &growth::section(*allocator, run);
    }
    results::write_doc(&results::docs().join("performance.md"), &(page.trim_end().to_owned() + "\n"));
}

fn write_chart(name: &str, svg: &str) {
    results::write_doc(&results::docs().join("performance").join(name), svg);
}

/// The command, date, allocator, machine and versions of a run.
fn run_details<T>(allocator: Allocator, run: &Run<T>) -> String {
    let Run { command, date, machine, versions, seconds, rounds, .. } = run;
    format!(
        "`{command}`, {date}.\n\
         Rounds: {rounds}. Seconds per measurement: {seconds}, after a warm-up of 1. Allocator of all servers: {}.\n\n\
         - Machine: {machine}\n- Versions: {versions}\n\n",
        allocator.name()
    )
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        table += &format!("| {} |\n", row.join(" | "));
    }
    table + "\n"
}

/// Formats requests per second: the median, the minimum and the maximum, and the share of failed requests, if any.
fn rate(median: Option<Median>, failed: Option<Median>) -> String {
    let Some(Median { value, min, max }) = median else { return "–".to_owned() };
    let rate = format!("**{}** ({}–{})", thousands(value), thousands(min), thousands(max));
    match failed.filter(|failed| failed.max > 0.0) {
        Some(failed) => format!("{rate}, up to {:.2} % failed", failed.max * 100.0),
        None => rate,
    }
}

/// Formats requests per second: the median only.
fn median_rate(median: Option<Median>) -> String {
    median.map_or("–".to_owned(), |median| thousands(median.value))
}

/// Formats the median with `places` decimal places.
fn number(median: Option<Median>, places: usize) -> String {
    median.map_or("–".to_owned(), |median| format!("{:.places$}", median.value))
}

fn color(server: Server) -> &'static str {
    match server {
        Server::Bare => "#8c959f",
        Server::HandWritten => "#bf8700",
        Server::SessionRocket => "#0969da",
        Server::Flex => "#8250df",
        Server::Tower => "#1a7f37",
        Server::Actix => "#cf222e",
    }
}
