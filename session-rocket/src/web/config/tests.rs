#![allow(clippy::result_large_err, reason = "the error of figment's jail")]

mod messages;
mod names;
mod round_trip;

use rocket::figment::providers::{Format, Toml};
use rocket::figment::{Figment, Profile};

use std::time::Duration;

use rocket::http::SameSite;

use super::*;
use crate::base::error::{ErrorKind, Result};
use crate::base::expiry::Refresh;
use crate::commit::sealed::{Kind, SecretKey};
use crate::store::{Migrate, mask_url};

const KEYS: [&str; 31] = [
    "store",
    "cookie_name",
    "cookie_path",
    "cookie_domain",
    "secure",
    "http_only",
    "same_site",
    "partitioned",
    "clear_site_data",
    "transport",
    "new_id_header",
    "expiry",
    "anonymous_expiry",
    "expire_at_browser_close",
    "max_lifetime",
    "max_sessions",
    "when_full",
    "poll_interval",
    "refresh",
    "format",
    "secret_keys",
    "table",
    "migrate",
    "sweep_interval",
    "timeout",
    "max_connections",
    "max_size",
    "capacity",
    "cache",
    "cache_ttl",
    "key_prefix",
];

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Resolves in the profile `debug` or `release`.
fn resolve(figment: &Figment, table: &str, code: &Config, debug: bool, by_url: bool) -> Result<Settings> {
    let profile = if debug { "debug" } else { "release" };
    super::resolve(&figment.clone().select(profile), table, code, by_url)
}

fn figment(toml: &str) -> Figment {
    Figment::from(rocket::Config::default()).merge(Toml::string(toml).nested()).select(Profile::new("debug"))
}

fn settings(toml: &str, code: &Config, debug: bool) -> Settings {
    resolve(&figment(&format!("[default.session]\n{toml}")), "session", code, debug, true).unwrap()
}

/// Returns the message of the error for an invalid configuration.
fn refusal(toml: &str, code: &Config) -> String {
    let result = resolve(&figment(&format!("[default.session]\n{toml}")), "session", code, true, true);
    let error = result.err().unwrap_or_else(|| panic!("accepted: {toml}"));
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[track_caller]
fn refused(toml: &str, says: &[&str]) {
    let text = refusal(toml, &Config::new());
    for part in says {
        assert!(text.contains(part), "{toml}: {text}");
    }
}

#[test]
fn the_defaults() {
    let found = resolve(&figment(""), "session", &Config::new(), true, true).unwrap();
    assert_eq!(found.cookie.to_string(), "cookie `sessionid` (Path=/, not Secure, HttpOnly, SameSite=Lax)");
    assert_eq!((found.policy.idle_timeout, found.policy.max_lifetime), (14 * DAY, None));
    assert!(!found.policy.browser_close && found.policy.refresh == Refresh::OnSave);
    assert_eq!((found.store.url.as_str(), found.store.table.as_str()), ("sqlite://sessions.db", "rocket_session"));
    assert_eq!((found.store.timeout, found.store.capacity), (Duration::from_secs(5), 100_000));
    assert_eq!((found.sweep_interval, found.max_size), (Some(Duration::from_secs(600)), 256 * 1024));
}

#[test]
fn every_key_is_read() {
    let toml = r#"
        store = "memory:"
        cookie_name = "id"
        cookie_path = "/shop"
        cookie_domain = ".example.com"
        secure = true
        http_only = false
        same_site = "none"
        expiry = "30 minutes"
        expire_at_browser_close = true
        max_lifetime = 28800
        refresh = 0.25
        table = "visitors"
        migrate = "Check"
        sweep_interval = "off"
        timeout = "500 ms"
        max_connections = 7
        max_size = "64 KiB"
        capacity = 12
    "#;
    let found = settings(toml, &Config::new(), true);
    let expected = "cookie `id` (Path=/shop, Domain=example.com, Secure, not HttpOnly, SameSite=None)";
    assert_eq!(found.cookie.to_string(), expected);
    assert_eq!((found.policy.idle_timeout, found.policy.max_lifetime), (HOUR / 2, Some(8 * HOUR)));
    assert!(found.policy.browser_close && found.policy.refresh == Refresh::Share(0.25));
    assert_eq!((found.store.url.as_str(), found.store.table.as_str()), ("memory:", "visitors"));
    assert!(matches!(found.store.migrate, Migrate::Check));
    assert_eq!((found.store.max_connections, found.store.capacity), (Some(7), 12));
    assert_eq!(found.store.timeout, Duration::from_millis(500));
    assert_eq!((found.sweep_interval, found.max_size), (None, 64 * 1024));
}

#[test]
fn words_are_read_in_any_case_and_units_are_not() {
    let site = |text: &str| settings(&format!("same_site = \"{text}\""), &Config::new(), true).cookie.same_site;
    assert_eq!((site("STRICT"), site("lax"), site("Strict")), (SameSite::Strict, SameSite::Lax, SameSite::Strict));
    let refresh = |text: &str| settings(&format!("refresh = \"{text}\""), &Config::new(), true).policy.refresh;
    assert_eq!((refresh("On Save"), refresh("always")), (Refresh::OnSave, Refresh::Always));
    assert_eq!(settings("expiry = \"5m\"", &Config::new(), true).policy.idle_timeout, HOUR / 12);
    assert!(settings("expiry = \"1M\"", &Config::new(), true).policy.idle_timeout > 30 * DAY);
    assert_eq!(settings("max_size = 1000", &Config::new(), true).max_size, 1000);
}

#[test]
fn the_file_wins_over_code_and_code_over_defaults() {
    let code = Config::new().expiry(HOUR).cookie_name("code").sweep_interval(None).store("memory:");
    let found = settings("cookie_name = \"file\"", &code, true);
    assert_eq!((found.cookie.name.as_str(), found.policy.idle_timeout), ("file", HOUR));
    assert_eq!((found.sweep_interval, found.store.url.as_str()), (None, "memory:"));
    assert_eq!(found.max_size, 256 * 1024);
}

#[test]
fn the_environment_wins_over_the_file_and_names_itself() {
    figment::Jail::expect_with(|jail| {
        let file =
            "[default.session]\nexpiry = \"1 hour\"\ncookie_name = \"file\"\n[release.session]\nsecure = false\n";
        jail.create_file("Rocket.toml", file)?;
        jail.set_env("ROCKET_SESSION", r#"{expiry="2 hours", max_size=1024}"#);
        jail.set_env("ROCKET_PROFILE", "release");
        let found = resolve(&rocket::Config::figment(), "session", &Config::new(), false, true).unwrap();
        assert_eq!((found.policy.idle_timeout, found.cookie.name.as_str()), (2 * HOUR, "file"));
        assert!(!found.cookie.secure && found.max_size == 1024);
        jail.set_env("ROCKET_SESSION", "{expiry=true}");
        let error =
            resolve(&rocket::Config::figment(), "session", &Config::new(), false, true).err().unwrap().to_string();
        assert!(error.contains("ROCKET_") && error.contains("expiry") && error.contains("14 days"), "{error}");
        for slip in ["{secret_keys=['hunter2'], expiry=\"1 hour\"}", "{store=\"postgres://u:hunter2@h/db\"", "hunter2"]
        {
            jail.set_env("ROCKET_SESSION", slip);
            let error =
                resolve(&rocket::Config::figment(), "session", &Config::new(), false, true).err().unwrap().to_string();
            assert!(error.contains("ROCKET_SESSION='{expiry=\"1 hour\"") && !error.contains("hunter2"), "{error}");
        }
        jail.set_env("ROCKET_SESSION", "{cooky_name=\"x\"}");
        let error =
            resolve(&rocket::Config::figment(), "session", &Config::new(), false, true).err().unwrap().to_string();
        assert!(error.contains("ROCKET_") && error.contains("did you mean `cookie_name`?"), "{error}");
        Ok(())
    });
}

#[test]
fn an_unknown_key_in_a_file_is_reported_with_the_file() {
    figment::Jail::expect_with(|jail| {
        jail.create_file("Rocket.toml", "[default.session]\nexpires = \"1 hour\"\n")?;
        let error =
            resolve(&rocket::Config::figment(), "session", &Config::new(), true, true).err().unwrap().to_string();
        assert!(error.contains("Rocket.toml") && error.contains("`session.expires`"), "{error}");
        jail.create_file("Rocket.toml", "[default.session]\ntimeout = 0\n")?;
        let error =
            resolve(&rocket::Config::figment(), "session", &Config::new(), true, true).err().unwrap().to_string();
        assert!(error.contains("Rocket.toml") && error.contains("`session.timeout`"), "{error}");
        Ok(())
    });
}

#[test]
fn a_table_of_its_own() {
    let figment = figment("[default.session]\nexpiry = 1\n[default.admin]\nexpiry = 60\n");
    assert_eq!(resolve(&figment, "admin", &Config::new(), true, true).unwrap().policy.idle_timeout.as_secs(), 60);
    assert_eq!(resolve(&figment, "other", &Config::new(), true, true).unwrap().policy.idle_timeout, 14 * DAY);
}

#[test]
fn an_unknown_key_is_reported_with_the_nearest_known_key() {
    refused("expirey = 1", &["`session.expirey`", "did you mean `expiry`?"]);
    refused("samesite = \"Lax\"", &["did you mean `same_site`?"]);
    refused("cookie-name = \"x\"", &["did you mean `cookie_name`?"]);
    refused("name = \"x\"", &["did you mean `cookie_name`?"]);
    refused("cookie_agee = 3", &["did you mean `expiry`?"]);
    refused("SESSION_COOKIE_AGE = 3", &["did you mean `expiry`?"]);
    refused("flavour = \"geheim\"", &["`session.flavour`", "the keys are store, cookie_name"]);
    assert!(!refusal("flavour = \"geheim\"", &Config::new()).contains("geheim"));
}

#[test]
fn a_value_of_the_wrong_type_is_reported_with_an_example() {
    refused("expiry = true", &["expiry", "bool", "\"14 days\""]);
    refused("expiry = \"soon\"", &["expiry", "soon", "\"14 days\""]);
    refused("expiry = -1", &["expiry", "-1", "\"14 days\""]);
    refused("expiry = 1.5", &["expiry", "1.5", "\"14 days\""]);
    refused("secure = \"yes\"", &["secure", "yes", "\"auto\", true or false"]);
    refused("same_site = \"Laxx\"", &["same_site", "Laxx", "\"Strict\", \"Lax\" or \"None\""]);
    for absent in ["false", "\"unset\"", "\"\""] {
        let says = ["same_site", "\"Strict\", \"Lax\" or \"None\"", "cannot be omitted", "write \"Lax\""];
        refused(&format!("same_site = {absent}"), &says);
    }
    refused("refresh = \"often\"", &["refresh", "often", "\"on save\", \"always\""]);
    for share in ["0", "1", "0.0", "1.0", "-0.1", "nan", "inf"] {
        refused(&format!("refresh = {share}"), &["refresh", "above 0 and below 1"]);
    }
    refused("migrate = true", &["migrate", "\"auto\", \"check\" or \"off\""]);
    refused("sweep_interval = \"never\"", &["sweep_interval", "\"off\""]);
    refused("store = 3", &["store", "string"]);
    refused("max_size = \"big\"", &["max_size"]);
    refused("max_size = -1", &["max_size"]);
    refused("max_connections = -1", &["max_connections"]);
    refused("http_only = 1", &["http_only", "bool"]);
    let error = resolve(&figment("[default]\nsession = 3"), "session", &Config::new(), true, true).err().unwrap();
    assert!(error.to_string().contains("session"), "{error}");
}

#[test]
fn lifetimes_that_cannot_be() {
    refused("expiry = 0", &["`session.expiry`", "at least 1 second"]);
    refused("expiry = \"999 ms\"", &["`session.expiry`", "at least 1 second"]);
    refused("max_lifetime = 0", &["`session.max_lifetime`", "at least 1 second"]);
    refused("expiry = \"401 days\"", &["`session.expiry`", "400 days"]);
    refused("max_lifetime = \"401 days\"", &["`session.max_lifetime`", "400 days"]);
    refused("max_lifetime = \"13 days\"", &["`session.max_lifetime`", "13 days is below `expiry`, which is 14 days"]);
    settings("expiry = \"400 days\"\nmax_lifetime = \"400 days\"", &Config::new(), true);
    let code = Config::new().max_lifetime(HOUR);
    assert!(refusal("expiry = \"2 h\"", &code).contains("1h is below `expiry`, which is 2h"));
    refused("expiry = \"36 h\"\nmax_lifetime = \"1 day\"", &["1 day is below `expiry`, which is 1day 12h"]);
    let anonymous = "anonymous_expiry = \"30 days\"\nmax_lifetime = \"20 days\"";
    refused(anonymous, &["20 days is below `anonymous_expiry`, which is 30 days"]);
}

#[test]
fn limits_that_cannot_be() {
    for key in ["timeout", "max_size", "max_connections", "capacity", "sweep_interval"] {
        refused(&format!("{key} = 0"), &[&format!("`session.{key}`"), "must not be zero"]);
    }
    for share in [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(refusal("", &Config::new().refresh(Refresh::Share(share))).contains("`session.refresh`"));
    }
}

#[test]
fn a_value_at_its_limit_is_accepted_and_one_beyond_it_is_refused() {
    let label = "a".repeat(63);
    let domain = [&*label, &label, &label, &"a".repeat(61)].join(".");
    let word = |length: usize| "a".repeat(length);
    for (key, accepted, refused_value) in [
        ("expiry", "1 s".to_owned(), "999 ms".to_owned()),
        ("expiry", "400 days".to_owned(), "400 days 1 s".to_owned()),
        ("max_lifetime", "14 days".to_owned(), "13 days".to_owned()),
        ("max_lifetime", "400 days".to_owned(), "400 days 1 s".to_owned()),
        ("poll_interval", "100 ms".to_owned(), "99 ms".to_owned()),
        ("poll_interval", "30 s".to_owned(), "31 s".to_owned()),
        ("cache_ttl", "1 s".to_owned(), "999 ms".to_owned()),
        ("cache_ttl", "1 hour".to_owned(), "61 minutes".to_owned()),
        ("timeout", "1 hour".to_owned(), "61 minutes".to_owned()),
        ("sweep_interval", "400 days".to_owned(), "401 days".to_owned()),
        ("key_prefix", word(100), word(101)),
        ("key_prefix", "~!".to_owned(), "a b".to_owned()),
        ("cookie_name", word(256), word(257)),
        ("cookie_path", format!("/{}", word(1023)), format!("/{}", word(1024))),
        ("cookie_path", "/ ~".to_owned(), "/\\u007f".to_owned()),
        ("cookie_domain", domain.clone(), domain + "a"),
        ("cookie_domain", "a-1.b_2".to_owned(), "a!".to_owned()),
    ] {
        settings(&format!("{key} = \"{accepted}\""), &Config::new(), true);
        refused(&format!("{key} = \"{refused_value}\""), &[&format!("`session.{key}`")]);
    }
    let shortest = settings("expiry = \"1 s\"\nmax_lifetime = \"1 s\"", &Config::new(), true).policy;
    assert_eq!(shortest.max_lifetime, Some(Duration::from_secs(1)));
}

#[test]
fn secure_is_on_with_tls_or_outside_debug() {
    let secure = |toml: &str, debug| settings(toml, &Config::new(), debug).cookie.secure;
    assert!(!secure("", true) && secure("", false));
    assert!(!secure("secure = \"auto\"", true) && secure("secure = \"AUTO\"", false));
    assert!(secure("secure = true", true) && !secure("secure = false", false));
    let code = Config::new().secure(true);
    assert!(!settings("secure = \"auto\"", &code, true).cookie.secure);
}

#[test]
fn the_default_name_has_the_host_prefix_where_that_holds() {
    let name = |toml: &str, debug| settings(toml, &Config::new(), debug).cookie.name;
    assert_eq!(name("", false), "__Host-sessionid");
    assert_eq!(name("", true), "sessionid");
    assert_eq!(name("cookie_path = \"/shop\"", false), "sessionid");
    assert_eq!(name("cookie_domain = \"example.com\"", false), "sessionid");
    assert_eq!(name("cookie_name = \"sessionid\"", false), "sessionid");
    assert_eq!(settings("", &Config::new().cookie_name("mine"), false).cookie.name, "mine");
}

#[test]
fn cookies_that_browsers_refuse() {
    refused("same_site = \"None\"", &["`session.same_site`", "secure = true"]);
    for name in ["__Host-x", "__hOsT-x", "__Secure-x", "__SECURE-x", "__Http-x"] {
        refused(&format!("cookie_name = \"{name}\""), &["`session.cookie_name`", "secure = true"]);
    }
    for with in ["cookie_path = \"/shop\"", "cookie_domain = \"example.com\""] {
        for name in ["__Host-x", "__host-x"] {
            let toml = format!("secure = true\ncookie_name = \"{name}\"\n{with}");
            refused(&toml, &["`session.cookie_name`", "`cookie_domain` and `cookie_path`"]);
        }
        settings(&format!("secure = true\ncookie_name = \"__Secure-x\"\n{with}"), &Config::new(), true);
    }
    for name in ["__Http-x", "__Host-Http-x", "__hOST-hTTP-x"] {
        let toml = format!("secure = true\ncookie_name = \"{name}\"");
        refused(&format!("{toml}\nhttp_only = false"), &["`session.cookie_name`", "http_only"]);
        settings(&toml, &Config::new(), true);
    }
}

#[test]
fn a_partitioned_cookie_is_secure_and_for_other_sites() {
    for with in ["", "secure = true", "secure = true\nsame_site = \"Strict\""] {
        refused(&format!("partitioned = true\n{with}"), &["`session.partitioned`", "remove `partitioned`"]);
    }
    let found = settings("partitioned = true\nsecure = true\nsame_site = \"None\"", &Config::new(), true);
    assert_eq!(
        found.cookie.to_string(),
        "cookie `__Host-sessionid` (Path=/, Secure, HttpOnly, SameSite=None, Partitioned)"
    );
}

#[test]
fn bearer_tokens_need_a_store_and_a_free_header() {
    for store in ["cookie+signed:", "cookie+encrypted:"] {
        for transport in ["bearer", "cookie or bearer"] {
            let toml = format!("store = \"{store}\"\ntransport = \"{transport}\"");
            refused(&toml, &["`session.transport`", "set another `store`"]);
        }
    }
    refused("new_id_header = \"X-Session-Id\"", &["`session.new_id_header`", "has no effect"]);
    for header in ["", "a b", "Set-Cookie", "authorization", "Content-Type"] {
        refused(&format!("transport = \"bearer\"\nnew_id_header = \"{header}\""), &["`session.new_id_header`"]);
    }
    let shown = |toml: &str| settings(toml, &Config::new(), true).to_string();
    let both = shown("transport = \"Cookie or Bearer\"\nnew_id_header = \"X-Session-Id\"");
    assert!(both.starts_with("cookie `sessionid` (Path=/, not Secure, HttpOnly, SameSite=Lax), or bearer token (new ids in `X-Session-Id`), expires"), "{both}");
    assert!(shown("transport = \"bearer\"").starts_with("bearer token, expires"));
}

#[test]
fn a_cookie_for_a_public_suffix_is_refused() {
    for domain in ["com", "co.uk", "CO.UK", ".github.io", "any.ck"] {
        refused(&format!("cookie_domain = \"{domain}\""), &["`session.cookie_domain`", "public suffix"]);
    }
    for domain in ["shop.co.uk", "ada.github.io", "localhost", "intranet", "shop.internal"] {
        settings(&format!("cookie_domain = \"{domain}\""), &Config::new(), true);
    }
}

#[test]
fn names_paths_and_domains_that_a_cookie_cannot_carry() {
    for name in ["", "a b", "a;b", "a=b", "ä", "a\\tb", "a,b", "a%20b", "a\\\"b", "a\\r\\nSet-Cookie:x"] {
        refused(&format!("cookie_name = \"{name}\""), &["`session.cookie_name`"]);
    }
    for path in ["", "shop", "/a;b", "/a\\nb", "/ä"] {
        refused(&format!("cookie_path = \"{path}\""), &["`session.cookie_path`"]);
    }
    for domain in ["", ".", "https://example.com", "example.com:80", "a b", "a;b", "a..b", "exämple.com"] {
        refused(&format!("cookie_domain = \"{domain}\""), &["`session.cookie_domain`"]);
    }
}

#[test]
fn the_log_shows_the_policy_and_no_secret() {
    let toml = r#"
        store = "postgres://school:ge/he#i@m@db.example/school?sslmode=require&sslkey=other"
        max_lifetime = "30 days"
        refresh = 0.1
    "#;
    assert_eq!(
        settings(toml, &Config::new(), false).to_string(),
        "cookie `__Host-sessionid` (Path=/, Secure, HttpOnly, SameSite=Lax), expires 14 days after the last save, and \
         30 days after its creation or login; renewed by a read after 0.1 of the idle timeout; store \
         postgres://school:***@db.example/school?sslmode=require&sslkey=*** (table `rocket_session`, migrate auto), \
         swept every 10m, timeout 5s, at most 256KiB a session"
    );
    assert!(!format!("{:?}", Config::new().store("redis://:geheim@host")).contains("geheim"));
    let cached = "store = \"memory:\"\ncache = \"redis://:geheim@host\"\ncache_ttl = 90";
    let shown = settings(cached, &Config::new(), false).to_string();
    assert!(shown.contains("; store memory:, cached in redis://:***@host for up to 1m 30s, swept"), "{shown}");
}

#[test]
fn a_cache_is_put_in_front_of_a_store() {
    for kind in ["signed", "encrypted"] {
        let toml = format!("store = \"cookie+{kind}:\"\ncache = \"redis://host\"");
        refused(&toml, &["`session.cache`", "remove `cache`"]);
    }
}

#[test]
fn urls_are_masked() {
    for (url, shown) in [
        ("sqlite://sessions.db", "sqlite://sessions.db"),
        ("sqlite::memory:", "sqlite::memory:"),
        ("sqlite:a.db?mode=rwc&key=geheim", "sqlite:a.db?mode=rwc&key=***"),
        ("redis://:geheim@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://geheim@host", "redis://geheim@host"),
        ("mysql://u:p@q@host/db", "mysql://u:***@host/db"),
        ("redis+cluster://u:p@a,u:q@b", "redis+cluster://u:***@b"),
        ("redis+cluster://u:geheim@a:7000,b:7001?protocol=2", "redis+cluster://u:***@a:7000,b:7001?protocol=2"),
        ("rediss+cluster://:ge@h/e,im@[::1]:7000,b", "rediss+cluster://:***@[::1]:7000,b"),
        ("rediss+cluster://:ge@h/e,im?@[::1]:7000,b", "rediss+cluster://***"),
        ("postgres://host:1/db?user=ada@site&password=geheim", "postgres://***"),
        ("redis+cluster://a:7000,b:7001", "redis+cluster://a:7000,b:7001"),
        ("postgres:u:geheim@host", "postgres:***@host"),
        ("memory:", "memory:"),
    ] {
        assert_eq!(mask_url(url), shown);
    }
}

#[test]
fn durations_that_no_timer_takes() {
    refused("timeout = \"2 hours\"", &["`session.timeout`", "at most 1h"]);
    refused("sweep_interval = \"900 days\"", &["`session.sweep_interval`", "at most"]);
    let code = Config::new().timeout(Duration::MAX);
    assert!(resolve(&figment(""), "session", &code, true, true).is_err());
}

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Returns the seal settings of the configuration `toml`.
fn sealed(toml: &str, debug: bool) -> Result<Option<SealSettings>, String> {
    let found = resolve(&figment(toml), "session", &Config::new(), debug, true);
    found.map(|settings| settings.seal).map_err(|error| error.to_string())
}

#[test]
fn the_keys_are_secret_keys_or_rockets_secret_key() {
    let hex = "8f".repeat(48);
    let store = "session.store = \"cookie+signed:\"";
    let of = |toml: &str, debug| sealed(&format!("[default]\n{store}\n{toml}"), debug).map(Option::unwrap);
    let (key, other) = (SecretKey::from_text(KEY).unwrap(), SecretKey::from_text(&hex).unwrap());
    for debug in [false, true] {
        let both = of(&format!("session.secret_keys = [\"{KEY}\", \"{hex}\"]"), debug).unwrap();
        assert!(
            both.current_key == key
                && both.former_keys == [other.clone()]
                && !both.is_random
                && both.kind == Kind::Signed
        );
        assert!(of(&format!("session.secret_keys = \"{KEY}\""), debug).unwrap().current_key == key);
        assert!(of(&format!("secret_key = \"{hex}\""), debug).unwrap().current_key == other);
        let numbers: Vec<u8> = (0..32).collect();
        assert!(of(&format!("secret_key = {numbers:?}"), debug).unwrap().current_key == key);
        let own = of(&format!("secret_key = \"{hex}\"\nsession.secret_keys = [\"{KEY}\"]"), debug).unwrap();
        assert!(own.current_key == key, "the session's keys take precedence");
    }
    let (hex, base64) = ("00".repeat(32), "A".repeat(43) + "=");
    let zeros = format!("secret_key = \"{hex}\"\nsession.secret_keys = [\"{base64}\"]");
    for unset in ["", zeros.as_str(), "session.secret_keys = []"] {
        assert!(of(unset, true).unwrap().is_random);
        let text = of(unset, false).err().unwrap();
        assert!(text.contains("`session.secret_keys`") && text.contains("openssl rand -base64 32"), "{text}");
    }
    assert!(of("", true).unwrap().current_key != of("", true).unwrap().current_key);
    assert!(sealed("", false).unwrap().is_none());
}

#[test]
fn invalid_keys_are_reported_by_their_position_and_not_shown() {
    for (toml, says) in [
        ("session.secret_keys = [\"geheim\"]", "key 1 is invalid"),
        (&*format!("session.secret_keys = [\"{KEY}\", \"geheim\"]"), "key 2 is invalid"),
        ("session.secret_keys = \"geheim\"", "key 1 is invalid"),
        ("session.secret_keys = [[\"geheim\"]]", "each of them a string"),
        ("session.secret_keys = { a = \"geheim\" }", "a list of keys"),
        ("session.secret_keys = 4711471147114711", "a list of keys"),
        ("session.secret_keys = [4711471147114711]", "each of them a string"),
        ("secret_key = \"geheim\"", "`secret_key`"),
    ] {
        let text = sealed(&format!("[default]\nsession.store = \"cookie+encrypted:\"\n{toml}"), true).err().unwrap();
        assert!(text.contains(says) && !text.contains("geheim") && !text.contains("4711"), "{text}");
    }
    // A mistake in a key is reported even if no cookie is sealed.
    refused("secret_keys = [\"geheim\"]", &["key 1 is invalid"]);
    refused("store = \"cookie+signed://x\"", &["`session.store`", "remove everything after the colon"]);
}

#[test]
fn the_launch_log_of_a_sealed_cookie() {
    let shown = settings("store = \"cookie+encrypted:\"\nsecret_keys = []", &Config::new(), true).to_string();
    assert!(shown.ends_with("; renewed on save; each in its own cookie, encrypted, one key"), "{shown}");
}

#[test]
fn formats_are_those_of_the_build() {
    assert_eq!(settings("format = \"JSON\"", &Config::new(), true).format, crate::data::codec::Format::Json);
    #[cfg(feature = "messagepack")]
    assert_eq!(
        settings("format = \"messagepack\"", &Config::new(), true).format,
        crate::data::codec::Format::MessagePack
    );
    #[cfg(not(feature = "messagepack"))]
    refused("format = \"messagepack\"", &["with the cargo feature"]);
    refused("format = \"pickle\"", &["pickle", "\"json\""]);
}
