//! Visitors with a session each: their cookies, and the number that each session should hold.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::load::{self, Answer};
use crate::random::Random;
use crate::sites::Server;

/// What is asked of a server, and what it has to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Anything: a server without sessions.
    Bare(&'static str),
    /// The number of the session.
    Get,
    /// One more than before, in any order where two requests meet.
    Count,
    /// As `Count`, by a load and a save.
    LoadAndSave,
    /// One more than the cookie holds, which is never replaced.
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

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub connections: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

/// What came of it. `S` is a sample that was taken at the start and at the end of what was measured.
pub struct Outcome<S> {
    pub duration: Duration,
    pub samples: [S; 2],
    pub tally: Tally,
}

/// What was answered in all, with the warm-up.
#[derive(Default)]
pub struct Tally {
    /// Of the requests that were measured and succeeded: in nanoseconds, sorted.
    pub latencies: Vec<u32>,
    pub answered: u64,
    /// Answers that said the server failed, such as 503.
    pub failed: u64,
    /// Answers to `/count` that are not above one that came before the request went out.
    stale: u64,
    /// Increments that were answered, and are not there.
    pub lost: u64,
}

impl<S> Outcome<S> {
    /// Goes on with what was measured next.
    pub fn extend(&mut self, next: Self) {
        let [_, last] = next.samples;
        self.samples[1] = last;
        self.duration += next.duration;
        let (tally, next) = (&mut self.tally, next.tally);
        tally.latencies.extend(next.latencies);
        tally.latencies.sort_unstable();
        tally.answered += next.answered;
        tally.failed += next.failed;
        tally.stale += next.stale;
        tally.lost += next.lost;
    }

    /// # Panics
    /// When an update was lost.
    pub fn assert_kept(&self, server: Server) {
        let Tally { stale, lost, .. } = self.tally;
        assert!(stale == 0 && lost == 0, "{} lost {lost} updates", server.name());
    }
}

pub struct Visitors {
    cookies: Cookies,
    /// What each session holds, at least: where two requests meet, an answer may be of before the other's update.
    numbers: Vec<u32>,
    /// Whose numbers have changed since all were read.
    counted: Vec<usize>,
}

/// The cookies of all visitors, or how to get at them.
pub enum Cookies {
    Known(Vec<String>),
    /// Too many to keep.
    Derived(fn(usize, &mut Vec<u8>)),
}

impl Visitors {
    /// Makes so many sessions, by a first visit to `/count` each.
    ///
    /// # Panics
    /// When the server does not do that.
    pub fn new(port: u16, number: usize) -> Self {
        let mut cookies = Vec::with_capacity(number);
        let mut left = number;
        let next = |request: &mut Vec<u8>| {
            left = left.checked_sub(1)?;
            write(request, "/count", |_| {});
            Some(())
        };
        load::drive(port, 32.min(number), next, |(), answer, _| {
            assert_eq!((answer.status, answer.body), ("200", "1"), "the answer to a first visit");
            cookies.push(answer.cookies());
        });
        assert!(cookies.iter().all(|cookie| !cookie.is_empty()), "a first visit without a cookie");
        Self::known(Cookies::Known(cookies), number)
    }

    /// Visitors whose sessions are there already, each with the number 1.
    pub fn known(cookies: Cookies, number: usize) -> Self {
        Self { cookies, numbers: vec![1; number], counted: Vec::new() }
    }

    /// Adds visitors until there are so many, each with the number 1.
    pub fn grow(&mut self, number: usize) {
        self.numbers.resize(number, 1);
    }

    pub fn number(&self) -> usize {
        self.numbers.len()
    }

    pub fn into_cookies(self) -> Vec<String> {
        match self.cookies {
            Cookies::Known(all) => all,
            Cookies::Derived(_) => Vec::new(),
        }
    }

    /// How much all sessions should hold.
    fn expected(&self) -> u64 {
        self.numbers.iter().copied().map(u64::from).sum()
    }

    /// Asks for `route` for a while, each time for a visitor picked at random, and checks each answer. `sample` is
    /// called after the warm-up and at the end.
    ///
    /// # Panics
    /// When an answer is wrong.
    pub fn measure<S>(&mut self, port: u16, route: Route, plan: Plan, sample: impl Fn() -> S) -> Outcome<S> {
        let start = Instant::now() + plan.warm_up;
        let end = start + plan.duration;
        let (mut samples, is_measured) = (Vec::new(), Cell::new(false));
        let (mut tally, mut random) = (Tally::default(), Random::new());
        let (held, counts) = (self.expected(), matches!(route, Route::Count | Route::LoadAndSave));
        let counted = &mut self.counted;
        let (count, cookies, numbers) = (self.numbers.len(), &self.cookies, RefCell::new(&mut self.numbers));
        let next = |request: &mut Vec<u8>| {
            let now = Instant::now();
            // Where answers are rare, the time to measure ends with one.
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
        load::drive(port, plan.connections, next, |(visitor, known), answer, latency| {
            let number = tally.take(route, known, answer, is_measured.get().then_some(latency));
            if counts {
                let mut numbers = numbers.borrow_mut();
                numbers[visitor] = numbers[visitor].max(number.unwrap_or_default());
                counted.push(visitor);
            }
        });
        let [(from, before), (to, after)] = samples.try_into().ok().expect("a start and an end");
        let is_lost = |kept: u64| (held + tally.answered).saturating_sub(kept);
        tally.lost = if counts { is_lost(self.sum(port)) } else { 0 };
        tally.latencies.sort_unstable();
        Outcome { duration: to - from, samples: [before, after], tally }
    }

    /// Reads the sessions that were counted in, takes over what they hold, and says how much all hold.
    ///
    /// # Panics
    /// When the server does not say.
    fn sum(&mut self, port: u16) -> u64 {
        self.counted.sort_unstable();
        self.counted.dedup();
        let (mut visitors, cookies, numbers) = (self.counted.drain(..), &self.cookies, &mut self.numbers);
        let next = |request: &mut Vec<u8>| {
            let visitor = visitors.next()?;
            write(request, "/get", |request| cookies.put(visitor, request));
            Some(visitor)
        };
        load::drive(port, 32, next, |visitor, answer, _| {
            assert_eq!(answer.status, "200", "the status of /get");
            numbers[visitor] = answer.body.parse().expect("/get answers a number");
        });
        drop(visitors);
        self.expected()
    }
}

impl Cookies {
    fn put(&self, visitor: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(b"Cookie: ");
        match self {
            Self::Known(all) => request.extend_from_slice(all[visitor].as_bytes()),
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
    /// Checks an answer, where the session held `known` before; says which number it has.
    fn take(&mut self, route: Route, known: u32, answer: &Answer<'_>, latency: Option<Duration>) -> Option<u32> {
        if answer.status != "200" {
            assert!(answer.status.starts_with('5'), "the status of {} is {}", route.path(), answer.status);
            self.failed += 1;
            return None;
        }
        self.answered += 1;
        self.latencies.extend(latency.map(|latency| u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX)));
        if let Route::Bare(_) = route {
            return None;
        }
        let number = answer.body.parse().unwrap_or_else(|_| panic!("{} answers {:?}", route.path(), answer.body));
        match route {
            Route::Get => assert_eq!(number, known, "the answer of /get"),
            Route::CountSealed => assert_eq!(number, known + 1, "the answer of /count"),
            Route::Count | Route::LoadAndSave => self.stale += u64::from(number <= known),
            Route::Bare(_) => {}
        }
        Some(number)
    }
}
