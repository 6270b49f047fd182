//! Visitors with one session each: their cookies, and the number that each session should have.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::load::{self, Response};
use crate::random::Random;
use crate::sites::Server;

/// A route, and the check of its responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A path of the server without sessions. The number is not checked.
    Bare(&'static str),
    /// Returns the number of the session.
    Get,
    /// Adds one. Concurrent requests may respond in any order.
    Count,
    /// As `Count`, with a load and a save.
    LoadAndSave,
    /// Returns one more than the number in the cookie. The cookie is never replaced.
    CountSealed,
}

impl Route {
    pub fn path(self) -> &'static str {
        match self {
            Self::Bare(path) => path,
            Self::Get => "/get",
            Self::Count | Self::CountSealed => "/count",
            Self::LoadAndSave => "/load_and_save",
        }
    }
}

/// The load of one measurement.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub connections: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

/// The result of one measurement. A sample of type `S` is taken at the start and at the end.
pub struct Measured<S> {
    pub duration: Duration,
    pub samples: [S; 2],
    pub tally: Tally,
}

/// Counts of the responses, including those of the warm-up.
#[derive(Default)]
pub struct Tally {
    /// The sorted latencies of successful requests after the warm-up, in nanoseconds.
    pub latencies: Vec<u32>,
    pub succeeded: u64,
    /// The number of 5xx responses.
    pub failed: u64,
    /// The number of responses to `/count` that are not higher than an earlier response of the same session.
    stale: u64,
    /// The number of confirmed increments that are missing.
    pub lost: u64,
}

impl<S> Measured<S> {
    /// Adds the measurement that followed this one.
    pub fn extend(&mut self, next: Self) {
        let [_, last] = next.samples;
        self.samples[1] = last;
        self.duration += next.duration;
        let (tally, next) = (&mut self.tally, next.tally);
        tally.latencies.extend(next.latencies);
        tally.latencies.sort_unstable();
        tally.succeeded += next.succeeded;
        tally.failed += next.failed;
        tally.stale += next.stale;
        tally.lost += next.lost;
    }

    /// Asserts that no update was lost.
    ///
    /// # Panics
    /// If an update was lost.
    pub fn assert_no_lost_updates(&self, server: Server) {
        let Tally { stale, lost, .. } = self.tally;
        assert!(stale == 0 && lost == 0, "{} lost {lost} updates", server.name());
    }
}

pub struct Visitors {
    cookies: Cookies,
    /// The smallest possible number of each session. With concurrent requests, a session can already have a higher number.
    numbers: Vec<u32>,
    /// The visitors whose numbers have changed since they were last read.
    changed: Vec<usize>,
}

/// The cookies of all visitors.
pub enum Cookies {
    Stored(Vec<String>),
    /// Writes the cookie of a visitor, if there are too many to store.
    Derived(fn(usize, &mut Vec<u8>)),
}

impl Visitors {
    /// Creates sessions with requests for `/count` that have no cookie.
    ///
    /// # Panics
    /// If a response is wrong.
    pub fn new(port: u16, number: usize) -> Self {
        let mut cookies = Vec::with_capacity(number);
        let mut left = number;
        let next = |request: &mut Vec<u8>| {
            left = left.checked_sub(1)?;
            write(request, "/count", |_| {});
            Some(())
        };
        load::drive(port, 32.min(number), next, |(), response, _| {
            assert_eq!((response.status, response.body), ("200", "1"), "the response to a first visit");
            cookies.push(response.cookies());
        });
        assert!(cookies.iter().all(|cookie| !cookie.is_empty()), "a first visit without a cookie");
        Self::with_cookies(Cookies::Stored(cookies), number)
    }

    /// Visitors whose sessions already exist, each with the number 1.
    pub fn with_cookies(cookies: Cookies, number: usize) -> Self {
        Self { cookies, numbers: vec![1; number], changed: Vec::new() }
    }

    /// Adds visitors up to a total, each with the number 1.
    pub fn grow(&mut self, number: usize) {
        self.numbers.resize(number, 1);
    }

    pub fn number(&self) -> usize {
        self.numbers.len()
    }

    pub fn into_cookies(self) -> Vec<String> {
        match self.cookies {
            Cookies::Stored(all) => all,
            Cookies::Derived(_) => Vec::new(),
        }
    }

    /// The sum of the numbers that all sessions should have.
    fn expected_sum(&self) -> u64 {
        self.numbers.iter().copied().map(u64::from).sum()
    }

    /// Requests `route` for random visitors and checks every response. Calls `sample` after the warm-up and at the end.
    ///
    /// # Panics
    /// If a response is wrong.
    pub fn measure<S>(&mut self, port: u16, route: Route, plan: Plan, sample: impl Fn() -> S) -> Measured<S> {
        let start = Instant::now() + plan.warm_up;
        let end = start + plan.duration;
        let (mut samples, is_measured) = (Vec::new(), Cell::new(false));
        let (mut tally, mut random) = (Tally::default(), Random::new());
        let (sum_before, counts) = (self.expected_sum(), matches!(route, Route::Count | Route::LoadAndSave));
        let changed = &mut self.changed;
        let (count, cookies, numbers) = (self.numbers.len(), &self.cookies, RefCell::new(&mut self.numbers));
        let next = |request: &mut Vec<u8>| {
            let now = Instant::now();
            // If responses are rare, the measurement ends with the first response after its time.
            if samples.is_empty() && now >= start || samples.len() == 1 && now >= end {
                samples.push((now, sample()));
                is_measured.set(samples.len() == 1);
            }
            if samples.len() == 2 {
                return None;
            }
            let visitor = random.below(count);
            write(request, route.path(), |request| cookies.put(visitor, request));
            Some((visitor, numbers.borrow()[visitor]))
        };
        load::drive(port, plan.connections, next, |(visitor, known), response, latency| {
            let number = tally.check(route, known, response, is_measured.get().then_some(latency));
            if counts {
                let mut numbers = numbers.borrow_mut();
                numbers[visitor] = numbers[visitor].max(number.unwrap_or_default());
                changed.push(visitor);
            }
        });
        let [(from, before), (to, after)] = samples.try_into().ok().expect("a sample at the start and at the end");
        let expected = sum_before + tally.succeeded;
        tally.lost = if counts { expected.saturating_sub(self.read_changed(port)) } else { 0 };
        tally.latencies.sort_unstable();
        Measured { duration: to - from, samples: [before, after], tally }
    }

    /// Reads the changed sessions, and returns the sum of the numbers of all sessions.
    ///
    /// # Panics
    /// If a response is wrong.
    fn read_changed(&mut self, port: u16) -> u64 {
        self.changed.sort_unstable();
        self.changed.dedup();
        let (mut visitors, cookies, numbers) = (self.changed.drain(..), &self.cookies, &mut self.numbers);
        let next = |request: &mut Vec<u8>| {
            let visitor = visitors.next()?;
            write(request, "/get", |request| cookies.put(visitor, request));
            Some(visitor)
        };
        load::drive(port, 32, next, |visitor, response, _| {
            assert_eq!(response.status, "200", "the status of /get");
            numbers[visitor] = response.body.parse().expect("/get returns a number");
        });
        drop(visitors);
        self.expected_sum()
    }
}

impl Cookies {
    fn put(&self, visitor: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(b"Cookie: ");
        match self {
            Self::Stored(all) => request.extend_from_slice(all[visitor].as_bytes()),
            Self::Derived(put) => put(visitor, request),
        }
        request.extend_from_slice(b"\r\n");
    }
}

fn write(request: &mut Vec<u8>, path: &str, header: impl FnOnce(&mut Vec<u8>)) {
    request.extend_from_slice(b"GET ");
    request.extend_from_slice(path.as_bytes());
    request.extend_from_slice(b" HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    header(request);
    request.extend_from_slice(b"\r\n");
}

impl Tally {
    /// Checks a response and returns its number. `known` is the smallest possible number of the session.
    fn check(&mut self, route: Route, known: u32, response: &Response<'_>, latency: Option<Duration>) -> Option<u32> {
        if response.status != "200" {
            assert!(response.status.starts_with('5'), "the status of {} is {}", route.path(), response.status);
            self.failed += 1;
            return None;
        }
        self.succeeded += 1;
        self.latencies.extend(latency.map(|latency| u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX)));
        if let Route::Bare(_) = route {
            return None;
        }
        let number = response.body.parse().unwrap_or_else(|_| panic!("{} returned {:?}", route.path(), response.body));
        match route {
            Route::Get => assert_eq!(number, known, "the response of /get"),
            Route::CountSealed => assert_eq!(number, known + 1, "the response of /count"),
            Route::Count | Route::LoadAndSave => self.stale += u64::from(number <= known),
            Route::Bare(_) => {}
        }
        Some(number)
    }
}
