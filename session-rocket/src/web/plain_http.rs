//! Warnings about a `Secure` cookie on a site that browsers reach over plain HTTP.
//!
//! Browsers drop such a cookie silently, so every request starts a new session.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rocket::Request;
use rocket::figment::Figment;

/// The maximum number of visitors to count.
const MAX_VISITORS: usize = 16;

/// The number of new cookies after which a visitor who never sends one back triggers the warning.
const WARNING_THRESHOLD: u32 = 3;

/// The warnings of one session type.
pub(super) struct PlainHttpWarnings {
    type_name: &'static str,
    /// Whether the cookie is `Secure` and Rocket serves plain HTTP.
    is_at_risk: bool,
    warned: AtomicBool,
    hasher: RandomState,
    /// The hashes of visitors that got a cookie but sent none, each with the number of such requests. The visitor with the
    /// oldest request is first.
    visitors: Mutex<Vec<(u64, u32)>>,
}

impl PlainHttpWarnings {
    /// Warns at launch if the cookie is `Secure` and Rocket serves plain HTTP, except in the profile `debug`.
    pub(super) fn at_launch(type_name: &'static str, secure: bool, figment: &Figment) -> Self {
        let has_tls = rocket::Config::try_from(figment).is_ok_and(|config| config.tls_enabled());
        let is_at_risk = secure && !has_tls;
        if is_at_risk && figment.profile() != rocket::Config::DEBUG_PROFILE {
            log::warn!(
                target: "session_rocket",
                "session type `{type_name}`: the cookie is `Secure`, but Rocket serves plain HTTP, and browsers drop a \
                 `Secure` cookie that they receive over plain HTTP: put a proxy that serves HTTPS in front of the site, \
                 or, to try the site without HTTPS, set `secure = false`",
            );
        }
        let visitors = Mutex::new(Vec::with_capacity(MAX_VISITORS));
        Self { type_name, is_at_risk, warned: AtomicBool::new(false), hasher: RandomState::new(), visitors }
    }

    /// Counts a request that sent no session cookie and gets one.
    ///
    /// Warns once if one visitor repeatedly gets a cookie over plain HTTP, and no proxy says that the browser uses
    /// HTTPS.
    pub(super) fn count_new_cookie(&self, request: &Request<'_>) {
        if !self.is_at_risk || self.warned.load(Ordering::Relaxed) || is_secure(request) {
            return;
        }
        let visitor = self.hasher.hash_one((request.client_ip(), request.headers().get_one("User-Agent")));
        if self.count(visitor) >= WARNING_THRESHOLD && !self.warned.swap(true, Ordering::Relaxed) {
            log::warn!(
                target: "session_rocket",
                "session type `{}`: a browser does not send the `Secure` cookie back, because browsers drop a `Secure` \
                 cookie that they receive over plain HTTP: serve HTTPS; if a proxy serves HTTPS, let the proxy send \
                 `X-Forwarded-Proto: https`",
                self.type_name,
            );
        }
    }

    /// Counts a request of a visitor, and returns the number of the visitor's requests.
    fn count(&self, visitor: u64) -> u32 {
        let mut visitors = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        let known = visitors.iter().position(|(other, _)| *other == visitor);
        let count = known.map_or(0, |index| visitors.remove(index).1) + 1;
        if visitors.len() == MAX_VISITORS {
            visitors.remove(0);
        }
        visitors.push((visitor, count));
        count
    }
}

/// Whether a proxy says that the browser uses HTTPS.
pub(super) fn is_secure(request: &Request<'_>) -> bool {
    let says = |name, https: &str| request.headers().get(name).any(|value| value.to_ascii_lowercase().contains(https));
    says("X-Forwarded-Proto", "https") || says("Forwarded", "proto=https")
}
