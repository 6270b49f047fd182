//! Warnings about a `Secure` cookie on a site that browsers reach over plain HTTP. Browsers drop such a cookie silently,
//! so every request starts a new session.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rocket::Request;
use rocket::figment::Figment;

/// The number of visitors that are remembered.
const VISITORS: usize = 16;

/// The number of new cookies for one visitor, who never returns a cookie, that triggers the warning.
const SUSPICIOUS: u32 = 3;

/// Watches one session type.
pub(super) struct PlainHttp {
    type_name: &'static str,
    /// Whether the cookie is `Secure` and Rocket serves plain HTTP.
    is_at_risk: bool,
    warned: AtomicBool,
    hasher: RandomState,
    /// Hashes of the visitors that got a cookie but sent none, and how often each did. The oldest is first.
    visitors: Mutex<Vec<(u64, u32)>>,
}

impl PlainHttp {
    /// Warns at launch if the cookie is `secure` and Rocket serves plain HTTP: says what a proxy must do.
    pub(super) fn at_launch(type_name: &'static str, secure: bool, figment: &Figment) -> Self {
        let has_tls = rocket::Config::try_from(figment).is_ok_and(|config| config.tls_enabled());
        let is_at_risk = secure && !has_tls;
        if is_at_risk && figment.profile() != rocket::Config::DEBUG_PROFILE {
            log::warn!(
                target: "session_rocket",
                "session type `{type_name}`: the cookie is `Secure`, but Rocket serves plain HTTP. Browsers keep the cookie \
                 only if a proxy in front serves HTTPS and passes `Cookie` and `Set-Cookie` on unchanged; to try the site \
                 without HTTPS, set `secure = false`",
            );
        }
        let visitors = Mutex::new(Vec::with_capacity(VISITORS));
        Self { type_name, is_at_risk, warned: AtomicBool::new(false), hasher: RandomState::new(), visitors }
    }

    /// Notes that a request without a session cookie gets one. Warns once if one visitor gets a cookie again and again, over a
    /// connection that no proxy calls secure.
    pub(super) fn note(&self, request: &Request<'_>) {
        if !self.is_at_risk || self.warned.load(Ordering::Relaxed) || is_secure(request) {
            return;
        }
        let visitor = self.hasher.hash_one((request.client_ip(), request.headers().get_one("User-Agent")));
        if self.count(visitor) >= SUSPICIOUS && !self.warned.swap(true, Ordering::Relaxed) {
            log::warn!(
                target: "session_rocket",
                "session type `{}`: a visitor keeps coming back without the `Secure` cookie just sent over plain HTTP: \
                 browsers drop it. Serve HTTPS; a proxy that does should say so with `X-Forwarded-Proto: https`",
                self.type_name,
            );
        }
    }

    /// Counts this visitor; returns how often the visitor was counted, this time included.
    fn count(&self, visitor: u64) -> u32 {
        let mut visitors = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        let known = visitors.iter().position(|(other, _)| *other == visitor);
        let count = known.map_or(0, |place| visitors.remove(place).1) + 1;
        if visitors.len() == VISITORS {
            visitors.remove(0);
        }
        visitors.push((visitor, count));
        count
    }
}

/// Whether a proxy says that the browser uses HTTPS.
fn is_secure(request: &Request<'_>) -> bool {
    let says = |name, https: &str| request.headers().get(name).any(|value| value.to_ascii_lowercase().contains(https));
    says("X-Forwarded-Proto", "https") || says("Forwarded", "proto=https")
}
