//! One measurement, and what is made of several.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::visitors::Outcome;

/// What one server did for one route, for some seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures {
    /// Requests a second.
    pub rate: f64,
    /// Half of the answers came within so many milliseconds.
    pub p50: f64,
    /// All but one in a hundred.
    pub p99: f64,
    /// Processor time for a request, in microseconds: the server's, and apart from it the database's.
    pub cpu: f64,
    pub database_cpu: f64,
    /// The share of increments that were answered and are not there.
    pub lost: f64,
    /// The share of requests whose answer said that the server failed.
    pub failed: f64,
}

/// Processor time used so far, of the server and of the database.
pub type Used = [std::time::Duration; 2];

impl Figures {
    pub fn of(outcome: &Outcome<Used>) -> Self {
        let tally = &outcome.tally;
        let requests = tally.latencies.len() as f64;
        let [before, after] = outcome.samples;
        let micros = |which: usize| after[which].saturating_sub(before[which]).as_secs_f64() * 1e6 / requests.max(1.0);
        Self {
            rate: requests / outcome.duration.as_secs_f64(),
            p50: percentile(&tally.latencies, 0.5),
            p99: percentile(&tally.latencies, 0.99),
            cpu: micros(0),
            database_cpu: micros(1),
            lost: share(tally.lost, tally.answered),
            failed: share(tally.failed, tally.answered + tally.failed),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, p50, p99, cpu, database_cpu, lost, failed } = self;
        write!(f, "{rate:8.0}/s  p50 {p50:6.3} ms  p99 {p99:6.3} ms  cpu {cpu:5.1} + {database_cpu:5.1} µs")?;
        for (share, what) in [(lost, "lost"), (failed, "failed")].into_iter().filter(|(share, _)| **share > 0.0) {
            write!(f, "  {what} {:.2} %", share * 100.0)?;
        }
        Ok(())
    }
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// In milliseconds, of sorted nanoseconds.
fn percentile(sorted: &[u32], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place).map_or(0.0, |nanos| f64::from(*nanos) / 1e6)
}

/// The middle of several, with the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Median {
    pub middle: f64,
    pub least: f64,
    pub greatest: f64,
}

impl Median {
    /// `None` of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&least, &greatest) = (values.first()?, values.last()?);
        let half = values.len() / 2;
        let middle = if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Some(Self { middle, least, greatest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(Median::of([]), None);
        assert_eq!(Median::of([3.0, 1.0, 2.0]), Some(Median { middle: 2.0, least: 1.0, greatest: 3.0 }));
        assert_eq!(Median::of([4.0, 1.0]), Some(Median { middle: 2.5, least: 1.0, greatest: 4.0 }));
    }
}
