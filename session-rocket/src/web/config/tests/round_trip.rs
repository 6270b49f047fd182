//! A configuration can be read back, and shows no secret.

use rocket::figment::providers::Serialized;
use serde_json::json;

use super::*;

const EVERY_KEY: &str = r#"
    store = "redis://:geheim@host"
    cookie_name = "id"
    cookie_path = "/shop"
    cookie_domain = "example.com"
    secure = true
    http_only = false
    same_site = "None"
    partitioned = true
    clear_site_data = true
    transport = "cookie or bearer"
    new_id_header = "X-Session-Id"
    expiry = "1 hour 30 seconds"
    anonymous_expiry = "1 day"
    expire_at_browser_close = true
    max_lifetime = "30 days"
    max_sessions = 3
    when_full = "refuse login"
    poll_interval = "5 s"
    refresh = 0.25
    format = "json"
    secret_keys = ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
    table = "visitors"
    migrate = "check"
    sweep_interval = "off"
    timeout = "500 ms"
    max_connections = 7
    max_size = "64 KiB"
    capacity = 12
    cache = "memcached://geheim@host"
    cache_ttl = 90
    key_prefix = "shop:"
"#;

fn every_key() -> Config {
    Config::from_figment(&figment(&format!("[default.session]\n{EVERY_KEY}")), "session").unwrap()
}

#[test]
fn code_with_every_key_set_is_the_configuration_without_a_table() {
    let code = every_key();
    let found = super::super::read::read(&figment(""), "session", &code, None).unwrap();
    assert!(found == code, "{found:?}\n{code:?}");
}

#[test]
fn the_defaults_can_be_written_down() {
    let written = Figment::from(Serialized::defaults(Config::new())).extract::<Config>().unwrap();
    assert!(written == Config::new(), "{written:?}");
    assert!(serde_json::from_str::<Config>("{}").unwrap() == Config::new());
}

#[test]
fn a_figment_extracts_a_configuration() {
    let figment = figment("[default.session]\nexpiry = 60\nrefresh = \"always\"");
    let found: Config = figment.extract_inner("session").unwrap();
    assert!(found == Config::new().expiry(Duration::from_secs(60)).refresh(Refresh::Always));
}

#[test]
fn every_key_is_shown_and_no_secret() {
    let (code, every) = (
        every_key(),
        json!({
            "store": "redis://:***@host",
            "cookie_name": "id",
            "cookie_path": "/shop",
            "cookie_domain": "example.com",
            "secure": true,
            "http_only": false,
            "same_site": "None",
            "partitioned": true,
            "clear_site_data": true,
            "transport": "cookie or bearer",
            "new_id_header": "X-Session-Id",
            "expiry": "1h 30s",
            "anonymous_expiry": "1 day",
            "expire_at_browser_close": true,
            "max_lifetime": "30 days",
            "max_sessions": 3,
            "when_full": "refuse login",
            "poll_interval": "5s",
            "refresh": 0.25,
            "format": "json",
            "secret_keys": ["***"],
            "table": "visitors",
            "migrate": "check",
            "sweep_interval": "off",
            "timeout": "500ms",
            "max_connections": 7,
            "max_size": 65536,
            "capacity": 12,
            "cache": "memcached://geheim@host",
            "cache_ttl": "1m 30s",
            "key_prefix": "shop:",
        }),
    );
    assert_eq!(serde_json::to_value(&code).unwrap(), every);
    let shown = format!("{:?}", code.cache("redis://:geheim@host?password=geheim"));
    assert!(shown.contains("redis://:***@host?password=***"), "{shown}");
    assert!(!shown.contains("geheim") && !shown.contains("AAEC"), "{shown}");
}

#[test]
fn a_configuration_from_a_figment_is_complete() {
    let found = |toml: &str, profile: &str| Config::from_figment(&figment(toml).select(profile), "session").unwrap();
    let release = found("", "release");
    assert_eq!((release.secure, release.cookie_name.as_deref()), (Some(true), Some("__Host-sessionid")));
    assert_eq!(found("", "debug").secure, Some(false));
    let sealed = "[default]\nsession.store = \"cookie+signed:\"\n";
    let numbers: Vec<u8> = (0..32).collect();
    let keys = found(&format!("{sealed}secret_key = {numbers:?}"), "release").secret_keys;
    assert_eq!(keys, ["000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"]);
    assert!(found(sealed, "debug").is_sealed() && found(sealed, "debug").secret_keys.is_empty());
    assert!(found("[default.session]\nstore = \"memory:\"", "debug").is_in_memory());
    assert!(found("", "debug").has_table());
}

#[test]
fn an_unreadable_file_is_named_and_not_shown() {
    figment::Jail::expect_with(|jail| {
        jail.create_file("Rocket.toml", "[default.session]\nstore = \"postgres://me:geheim@host/x\n")?;
        let error = Config::from_figment(&rocket::Config::figment(), "session").unwrap_err().to_string();
        assert!(error.contains("Rocket.toml) cannot be read: ") && error.contains("line 2"), "{error}");
        assert!(!error.contains("geheim"), "{error}");
        Ok(())
    });
}

#[test]
fn options_open_the_configured_store() {
    let options = crate::store::Options::from(&every_key());
    assert_eq!(
        (options.url.as_str(), options.cache.as_deref()),
        ("redis://:geheim@host", Some("memcached://geheim@host"))
    );
    assert_eq!(
        (options.table.as_str(), options.migrate, options.create_if_missing),
        ("visitors", Migrate::Check, true)
    );
    assert_eq!((options.timeout, options.max_connections), (Duration::from_millis(500), Some(7)));
    assert_eq!((options.capacity, options.cache_ttl), (12, Duration::from_secs(90)));
    assert_eq!(options.key_prefix, "shop:");
}
