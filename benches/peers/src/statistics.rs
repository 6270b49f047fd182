//! The statistics of one measurement, and the median of several.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::visitors::Measured;

/// The statistics of one server and one route.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Statistics {
    /// Requests per second.
    pub rate: f64,
    /// The median latency, in milliseconds.
    pub p50: f64,
    /// The 99th percentile of the latency, in milliseconds.
    pub p99: f64,
    /// The server's processor time per request, in microseconds.
    pub cpu: f64,
    /// The database's processor time per request, in microseconds.
    pub database_cpu: f64,
    /// The share of confirmed increments that are missing.
    pub lost: f64,
    /// The share of requests with a 5xx response.
    pub failed: f64,
}

/// The processor time used so far by the server and by the database.
pub type CpuTimes = [std::time::Duration; 2];

impl Statistics {
    pub fn of(measured: &Measured<CpuTimes>) -> Self {
        let tally = &measured.tally;
        let requests = tally.latencies.len() as f64;
        let [before, after] = measured.samples;
        let micros =
            |process: usize| after[process].saturating_sub(before[process]).as_secs_f64() * 1e6 / requests.max(1.0);
        Self {
            rate: requests / measured.duration.as_secs_f64(),
            p50: percentile(&tally.latencies, 0.5),
            p99: percentile(&tally.latencies, 0.99),
            cpu: micros(0),
            database_cpu: micros(1),
            lost: share(tally.lost, tally.succeeded),
            failed: share(tally.failed, tally.succeeded + tally.failed),
        }
    }
}

impl fmt::Display for Statistics {
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

/// A percentile of sorted nanoseconds, in milliseconds.
fn percentile(sorted: &[u32], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index).map_or(0.0, |nanos| f64::from(*nanos) / 1e6)
}

/// The median of several values, with their minimum and maximum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Median {
    pub value: f64,
    pub min: f64,
    pub max: f64,
}

impl Median {
    /// Returns `None` if there are no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let half = values.len() / 2;
        let value = if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Some(Self { value, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_two() {
        assert_eq!(Median::of([]), None);
        assert_eq!(Median::of([3.0, 1.0, 2.0]), Some(Median { value: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Median::of([4.0, 1.0]), Some(Median { value: 2.5, min: 1.0, max: 4.0 }));
    }
}
