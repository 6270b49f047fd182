//! Visitors with a session each: their cookies, and the number that each session should hold.

use std::cell::RefCell;
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

/// What came of it, while it was measured. `S` is a sample that was taken at its start and at its end.
pub struct Outcome<S> {
    pub duration: Duration,
    /// In nanoseconds, sorted.
    pub latencies: Vec<u32>,
    pub samples: [S; 2],
    /// Requests that were answered in all, with those of the warm-up.
    pub answered: u64,
    /// Answers to `/count` that are not above one that came before the request went out.
    pub stale: u64,
    /// Increments that were answered, and are not there.
    pub lost: u64,
}

impl<S> Outcome<S> {
    /// Goes on with what was measured next.
    pub fn extend(&mut self, next: Self) {
        let [_, last] = next.samples;
        self.samples[1] = last;
        self.duration += next.duration;
        self.latencies.extend(next.latencies);
        self.latencies.sort_unstable();
        self.answered += next.answered;
        self.stale += next.stale;
        self.lost += next.lost;
    }

    /// # Panics
    /// When an update was lost.
    pub fn assert_kept(&self, server: Server) {
        assert!(self.stale == 0 && self.lost == 0, "{} lost {} updates", server.name(), self.lost);
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

    /// One without a session.
    pub fn nobody() -> Self {
        Self::known(Cookies::Known(vec![String::new()]), 1)
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
        let (mut before, mut measured) = (None, None);
        let (mut answered, mut stale, mut latencies) = (0, 0, Vec::new());
        let mut random = Random::new();
        let held = self.expected();
        let counted = &mut self.counted;
        let (count, cookies, numbers) = (self.numbers.len(), &self.cookies, RefCell::new(&mut self.numbers));
        let next = |request: &mut Vec<u8>| {
            let now = Instant::now();
            if now >= start && before.is_none() {
                before = Some((now, sample()));
            }
            if now >= end {
                measured.get_or_insert_with(|| (now, sample()));
                return None;
            }
            let visitor = random.below(count);
            write(request, route.path(), |request| cookies.put(visitor, request));
            Some((visitor, numbers.borrow()[visitor]))
        };
        load::drive(port, plan.connections, next, |(visitor, known), answer, latency| {
            let now = Instant::now();
            answered += 1;
            if now >= start && now < end {
                latencies.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
            }
            let number = check(route, known, answer);
            stale += u64::from(number.is_none());
            if let (Some(number), Route::Count | Route::LoadAndSave) = (number, route) {
                let mut numbers = numbers.borrow_mut();
                numbers[visitor] = numbers[visitor].max(number);
                counted.push(visitor);
            }
        });
        latencies.sort_unstable();
        let ((from, before), (to, after)) = before.zip(measured).expect("a start comes before an end");
        let is_kept = matches!(route, Route::Count | Route::LoadAndSave);
        let lost = if is_kept { (held + answered).saturating_sub(self.sum(port)) } else { 0 };
        Outcome { duration: to - from, latencies, samples: [before, after], answered, stale, lost }
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

/// The number in an answer, where `known` was there before; `None` for a count that did not rise.
fn check(route: Route, known: u32, answer: &Answer<'_>) -> Option<u32> {
    assert_eq!(answer.status, "200", "the status of {}, which says {:?}", route.path(), answer.body);
    if let Route::Bare(_) = route {
        return Some(known);
    }
    let number: u32 = answer.body.parse().unwrap_or_else(|_| panic!("{} answers {:?}", route.path(), answer.body));
    match route {
        Route::Get => assert_eq!(number, known, "the answer of /get"),
        Route::CountSealed => assert_eq!(number, known + 1, "the answer of /count"),
        Route::Bare(_) | Route::Count | Route::LoadAndSave => {}
    }
    (number > known || route == Route::Get).then_some(number)
}
