//! Checks of the values of a configuration.

use std::borrow::Cow;
use std::time::Duration;

use rocket::http::SameSite;

use super::definition::Config;
use super::word::DurationText;
use crate::base::expiry::{MAX_AGE, Refresh};
use crate::commit::sealed::SecretKey;
use crate::store::TOMBSTONE_LIFETIME;
use crate::web::public_suffix::is_public_suffix;
use crate::web::transport::{Transport, is_free_header};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// The description of a valid secret key, for error messages.
pub(super) const KEY_FORM: &str =
    "at least 32 random bytes in base64 or hexadecimal digits, such as the output of `openssl rand -base64 32`";

/// Returns the invalid keys of a configuration, each with the reason and the fix. `secure` and `cookie_name` must be set.
pub(super) fn problems(config: &Config, debug: bool) -> Vec<(&'static str, Cow<'static, str>)> {
    let mut problems = Problems(Vec::new());
    problems.check_lifetimes(config);
    problems.check_limits(config);
    problems.check_cookie(config);
    problems.check_cookie_name(config);
    problems.check_transport(config);
    problems.check_sealing(config, debug);
    problems.0
}

struct Problems(Vec<(&'static str, Cow<'static, str>)>);

impl Problems {
    fn add_if(&mut self, is_wrong: bool, key: &'static str, fix: impl Into<Cow<'static, str>>) {
        if is_wrong {
            self.0.push((key, fix.into()));
        }
    }

    fn check_lifetimes(&mut self, config: &Config) {
        let Config { expiry, anonymous_expiry, max_lifetime, .. } = *config;
        let lifetimes =
            [("expiry", Some(expiry)), ("anonymous_expiry", anonymous_expiry), ("max_lifetime", max_lifetime)];
        for (key, lifetime) in lifetimes {
            let lifetime = lifetime.unwrap_or(SECOND);
            self.add_if(lifetime < SECOND, key, "must be at least 1 second, because cookies count in seconds");
            let fix = "browsers keep no cookie longer than 400 days: write \"400 days\" or less";
            self.add_if(lifetime > MAX_AGE, key, fix);
        }
        if let Some(limit) = max_lifetime.filter(|limit| *limit >= SECOND) {
            let idle_timeouts = [("expiry", Some(expiry)), ("anonymous_expiry", anonymous_expiry)];
            for (key, idle) in idle_timeouts.into_iter().filter_map(|(key, idle)| Some((key, idle?))) {
                let (limit_text, idle_text) = (DurationText(limit), DurationText(idle));
                let fix = format!(
                    "{limit_text} is below `{key}`, which is {idle_text}: raise `max_lifetime`, or lower `{key}`"
                );
                self.add_if(limit < idle && idle <= MAX_AGE, "max_lifetime", fix);
            }
        }
    }

    fn check_limits(&mut self, config: &Config) {
        let Config { refresh, cache_ttl, timeout, sweep_interval, .. } = *config;
        let is_share = if let Refresh::Share(share) = refresh { share > 0.0 && share < 1.0 } else { true };
        self.add_if(!is_share, "refresh", "a share of the idle timeout must be above 0 and below 1, such as 0.1");
        self.add_if(
            sweep_interval.is_some_and(|interval| interval.is_zero()),
            "sweep_interval",
            "must not be zero: write \"off\" to never sweep",
        );
        // The interval is limited, because `Session::ended` finds the new key of a session only while the old key has a
        // tombstone.
        let is_interval = (SECOND / 10..=TOMBSTONE_LIFETIME / 2).contains(&config.poll_interval);
        self.add_if(!is_interval, "poll_interval", "must be between 100 milliseconds and 30 seconds");
        // The TTL is limited, because a process that cannot reach the cache leaves an old session there until the TTL ends.
        let is_ttl = (SECOND..=HOUR).contains(&cache_ttl);
        self.add_if(!is_ttl, "cache_ttl", "must be between 1 second and 1 hour");
        let prefix = &config.key_prefix;
        let is_prefix = prefix.len() <= 100 && prefix.bytes().all(|b| b.is_ascii_graphic());
        self.add_if(!is_prefix, "key_prefix", "must be at most 100 printable ASCII characters, without spaces");
        // Limited, because clients wait for at most an hour, and timers have a maximum duration.
        for (key, duration, longest) in [("timeout", Some(timeout), HOUR), ("sweep_interval", sweep_interval, MAX_AGE)]
        {
            let fix = format!("must be at most {}", DurationText(longest));
            self.add_if(duration.is_some_and(|duration| duration > longest), key, fix);
        }
        let zeros = [
            ("timeout", timeout.is_zero()),
            ("max_size", config.max_size == 0),
            ("max_connections", config.max_connections == Some(0)),
            ("max_sessions", config.max_sessions == Some(0)),
            ("capacity", config.capacity == 0),
        ];
        for (key, is_zero) in zeros {
            self.add_if(is_zero, key, "must not be zero: leave it out for the default");
        }
    }

    fn check_cookie(&mut self, config: &Config) {
        let path = &config.cookie_path;
        self.add_if(!path.starts_with('/'), "cookie_path", "must start with `/`");
        let is_path = path.len() <= 1024 && path.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b';');
        self.add_if(
            path.starts_with('/') && !is_path,
            "cookie_path",
            "must be at most 1024 ASCII characters, without `;`",
        );
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let is_host = |domain: &String| domain.len() <= 253 && domain.split('.').all(is_label);
        self.add_if(
            !config.cookie_domain.as_ref().is_none_or(is_host),
            "cookie_domain",
            "must be a host name such as \"example.com\", without scheme and port; leave it out for a host-only cookie",
        );
        self.add_if(
            config.cookie_domain.as_deref().is_some_and(is_public_suffix),
            "cookie_domain",
            "browsers drop cookies for a public suffix such as `co.uk`: write the site's own domain",
        );
        self.add_if(
            config.same_site == SameSite::None && config.secure != Some(true),
            "same_site",
            "browsers refuse a `SameSite=None` cookie that is not secure: set `secure = true`, or write \"Lax\"",
        );
        self.add_if(
            config.partitioned && (config.same_site != SameSite::None || config.secure != Some(true)),
            "partitioned",
            "has an effect only on a secure `SameSite=None` cookie: set `secure = true` and `same_site = \"None\"`, or \
             remove `partitioned`",
        );
    }

    /// Checks the name, and the rules for name prefixes, which browsers match case-insensitively (RFC 6265bis).
    fn check_cookie_name(&mut self, config: &Config) {
        // `%` is valid in cookie names, but refused because Rocket decodes it.
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&b);
        let name = config.cookie_name.as_deref().unwrap_or_default();
        self.add_if(
            name.is_empty() || name.len() > 256 || !name.bytes().all(is_letter),
            "cookie_name",
            "must be 1 to 256 characters, each an ASCII letter, a digit or one of !#$&'*+-.^_`|~",
        );
        let name = name.to_ascii_lowercase();
        let has_prefix = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        self.add_if(
            has_prefix(&["__host-", "__secure-", "__http-"]) && config.secure != Some(true),
            "cookie_name",
            "browsers refuse a cookie with this prefix that is not secure: set `secure = true`, or choose another name",
        );
        self.add_if(
            has_prefix(&["__host-"]) && (config.cookie_domain.is_some() || config.cookie_path != "/"),
            "cookie_name",
            "browsers refuse a `__Host-` cookie with a domain, or with a path other than `/`: leave out `cookie_domain` \
             and `cookie_path`, or choose another name",
        );
        self.add_if(
            has_prefix(&["__http-", "__host-http-"]) && !config.http_only,
            "cookie_name",
            "browsers refuse a cookie with this prefix that scripts can read: set `http_only = true`, or choose another \
             name",
        );
    }

    fn check_transport(&mut self, config: &Config) {
        self.add_if(
            config.is_sealed() && config.transport != Transport::Cookie,
            "transport",
            "a sealed cookie has no id to send as a bearer token: write \"cookie\", or set another `store`",
        );
        self.add_if(
            config.new_id_header.is_some() && config.transport == Transport::Cookie,
            "new_id_header",
            "has no effect without bearer tokens: remove it, or set `transport = \"cookie or bearer\"`",
        );
        self.add_if(
            config.new_id_header.as_deref().is_some_and(|name| !is_free_header(name)),
            "new_id_header",
            "must be a valid header name that HTTP does not define, such as \"X-Session-Id\"",
        );
    }

    fn check_sealing(&mut self, config: &Config, debug: bool) {
        let keys: Vec<_> = config.secret_keys.iter().map(|text| SecretKey::from_text(text)).collect();
        for (index, key) in keys.iter().enumerate() {
            self.add_if(key.is_none(), "secret_keys", format!("key {} is invalid: write {KEY_FORM}", index + 1));
        }
        if !config.is_sealed() {
            return;
        }
        self.add_if(
            config.store.split_once(':').is_some_and(|(_, rest)| !rest.is_empty()),
            "store",
            "remove everything after the colon: write \"cookie+signed:\" or \"cookie+encrypted:\"",
        );
        self.add_if(
            config.cache.is_some(),
            "cache",
            "sealed cookies need no cache, because they are not in a store: remove `cache`, or set another `store`",
        );
        self.add_if(
            config.max_sessions.is_some(),
            "max_sessions",
            "sessions in sealed cookies cannot be counted: remove `max_sessions`, or set another `store`",
        );
        let has_key = keys.iter().any(|key| key.as_ref().is_none_or(|key| !key.is_zero()));
        self.add_if(
            !has_key && !debug,
            "secret_keys",
            format!("a sealed cookie needs a key: set `secret_keys`, or Rocket's own `secret_key`, to {KEY_FORM}"),
        );
    }
}
