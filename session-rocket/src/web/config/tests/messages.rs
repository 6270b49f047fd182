//! Snapshots of every message about an invalid configuration.

use std::fmt::Write as _;

use super::*;

/// Returns the message for a configuration: `toml` is the table `[default.session]`, and `before` the table `[default]`.
fn message_of(before: &str, toml: &str, code: &Config, debug: bool, by_url: bool) -> String {
    let figment = figment(&format!("[default]\n{before}\n[default.session]\n{toml}"));
    match resolve(&figment, "session", code, debug, by_url) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Appends one case to the snapshot: the configuration and its message.
fn case(shown: &mut String, toml: &str, message: &str) {
    writeln!(shown, "{}\n    {message}", toml.replace('\n', "; ")).unwrap();
}

fn in_debug(shown: &mut String, cases: &[&str]) {
    for toml in cases {
        case(shown, toml, &message_of("", toml, &Config::new(), true, true));
    }
}

/// Values of every type, most of which each key refuses.
#[cfg(feature = "messagepack")]
const VALUES: [&str; 12] = [
    "true",
    "0",
    "-1",
    "7",
    "1.5",
    "nan",
    "9223372036854775807",
    "\"\"",
    "\"word ä\"",
    "[\"word\"]",
    "{ word = \"word\" }",
    "2026-11-30",
];

#[test]
#[cfg(feature = "messagepack")]
fn a_value_of_each_type_for_each_key() {
    let mut shown = String::new();
    for key in KEYS {
        for value in VALUES {
            in_debug(&mut shown, &[&format!("{key} = {value}")]);
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn unknown_keys() {
    let mut shown = String::new();
    let keys = [
        "expirey",
        "samesite",
        "cookie-name",
        "name",
        "cookie_agee",
        "SESSION_COOKIE_AGE",
        "SECRET_KEY",
        "idle_timeout",
        "lifetime",
        "flavour",
        "x",
        "Store",
        "store.url",
    ];
    in_debug(&mut shown, &keys.map(|key| format!("{key} = \"geheim\"")).each_ref().map(String::as_str));
    insta::assert_snapshot!(shown);
}

#[test]
fn values_out_of_range() {
    let mut shown = String::new();
    for key in ["expiry", "anonymous_expiry", "max_lifetime", "sweep_interval", "timeout", "cache_ttl"] {
        for value in ["999 ms", "401 days", "2 hours", "900 days", "1 fortnight", "1 2", "off", "OFF", " 1 day "] {
            in_debug(&mut shown, &[&format!("{key} = \"{value}\"")]);
        }
    }
    in_debug(
        &mut shown,
        &[
            "max_lifetime = \"13 days\"",
            "expiry = \"2 h\"\nmax_lifetime = 3600",
            "anonymous_expiry = \"20 days\"",
            "refresh = 0.0",
            "refresh = 0.25",
            "refresh = 1.0",
            "refresh = -0.1",
            "refresh = inf",
            "refresh = \"On Save\"",
            "refresh = \"often\"",
            "same_site = \"Laxx\"",
            "same_site = \"unset\"",
            "same_site = \"None\"",
            "same_site = \"None\"\nsecure = true",
            "secure = \"yes\"",
            "migrate = \"never\"",
            "format = \"JSON\"",
            "max_size = \"big\"",
            "max_size = \"64 KiB\"",
            "max_size = \"1.5 MB\"",
            "max_size = \"99999999999999 EiB\"",
            "max_connections = 4294967296",
            "capacity = \"7\"",
            "key_prefix = \"a b\"",
            &format!("key_prefix = \"{}\"", "a".repeat(101)),
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn cookies() {
    let mut shown = String::new();
    let secure = "secure = true\n";
    for name in ["__Host-x", "__hOsT-x", "__Secure-x", "__Http-x", "__Host-Http-x"] {
        let key = format!("cookie_name = \"{name}\"");
        let cases = [
            key.clone(),
            format!("{secure}{key}"),
            format!("{secure}{key}\ncookie_path = \"/shop\""),
            format!("{secure}{key}\ncookie_domain = \"example.com\""),
            format!("{secure}{key}\nhttp_only = false"),
        ];
        in_debug(&mut shown, &cases.each_ref().map(String::as_str));
    }
    for name in ["a b", "a;b", "a=b", "ä", "a%20b", "a\\r\\nSet-Cookie:x"] {
        in_debug(&mut shown, &[&format!("cookie_name = \"{name}\"")]);
    }
    for path in ["shop", "/a;b", "/ä"] {
        in_debug(&mut shown, &[&format!("cookie_path = \"{path}\"")]);
    }
    for domain in [
        ".",
        ".example.com",
        "https://example.com",
        "example.com:80",
        "a..b",
        "exämple.com",
        "co.uk",
        ".github.io",
        "localhost",
    ] {
        in_debug(&mut shown, &[&format!("cookie_domain = \"{domain}\"")]);
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn partitioned_cookies() {
    let mut shown = String::new();
    let secure = "secure = true\n";
    let partitioned = "partitioned = true";
    in_debug(
        &mut shown,
        &[
            partitioned,
            &format!("{secure}{partitioned}"),
            &format!("{partitioned}\nsame_site = \"None\""),
            &format!("{secure}{partitioned}\nsame_site = \"None\""),
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn bearer_tokens() {
    let mut shown = String::new();
    let bearer = "transport = \"bearer\"";
    in_debug(
        &mut shown,
        &[
            bearer,
            "transport = \"header\"",
            "new_id_header = \"X-Session-Id\"",
            &format!("{bearer}\nnew_id_header = \"X-Session-Id\""),
            &format!("{bearer}\nnew_id_header = \"Set-Cookie\""),
            &format!("{bearer}\nstore = \"cookie+signed:\"\nsecret_keys = [\"{KEY}\"]"),
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn sealed_cookies() {
    let mut shown = String::new();
    let store = "store = \"cookie+signed:\"";
    let cases = [
        ("", store.to_owned()),
        ("secret_key = \"geheim\"", store.to_owned()),
        ("secret_key = 7", store.to_owned()),
        ("secret_key = [1, 2, 3]", store.to_owned()),
        ("", format!("{store}\nsecret_keys = []")),
        ("", format!("{store}\nsecret_keys = \"geheim\"")),
        ("", format!("{store}\nsecret_keys = [\"{KEY}\", \"geheim\"]")),
        ("", format!("{store}\nsecret_keys = [[\"geheim\"]]")),
        ("", format!("{store}\nsecret_keys = {{ a = \"geheim\" }}")),
        ("", format!("{store}\nsecret_keys = [4711471147114711]")),
        ("", format!("{store}\nsecret_keys = [\"{KEY}\"]\ncache = \"redis://:geheim@host\"")),
        ("", format!("store = \"cookie+encrypted://geheim\"\nsecret_keys = [\"{KEY}\"]")),
        ("", "secret_keys = [\"geheim\"]".to_owned()),
    ];
    for (before, toml) in cases {
        for debug in [true, false] {
            let shown_toml = format!("{before}{}{toml}", if before.is_empty() { "" } else { "\n" });
            let message = message_of(before, &toml, &Config::new(), debug, true);
            case(&mut shown, &format!("{} {shown_toml}", if debug { "debug:" } else { "release:" }), &message);
        }
    }
    let with_store = message_of("", "store = \"geheim\"\nsecret_keys = [\"geheim\"]", &Config::new(), true, false);
    case(&mut shown, "with a store object: secret_keys = [\"geheim\"]", &with_store);
    insta::assert_snapshot!(shown);
}

#[test]
fn code() {
    let mut shown = String::new();
    let hour = Duration::from_hours(1);
    let cases = [
        ("Share(0.0)", Config::new().refresh(Refresh::Share(0.0))),
        ("Share(1.0)", Config::new().refresh(Refresh::Share(1.0))),
        ("Share(NaN)", Config::new().refresh(Refresh::Share(f64::NAN))),
        ("Share(-1)", Config::new().refresh(Refresh::Share(-1.0))),
        ("expiry(0)", Config::new().expiry(Duration::ZERO)),
        ("expiry(MAX)", Config::new().expiry(Duration::MAX)),
        ("max_lifetime(1 h)", Config::new().max_lifetime(hour)),
        ("anonymous_expiry(0)", Config::new().anonymous_expiry(Duration::ZERO)),
        ("timeout(MAX)", Config::new().timeout(Duration::MAX)),
        ("sweep_interval(0)", Config::new().sweep_interval(Duration::ZERO)),
        ("sweep_interval(None)", Config::new().sweep_interval(None)),
        ("cache_ttl(1 ms)", Config::new().cache_ttl(Duration::from_millis(1))),
        ("max_size(0)", Config::new().max_size(0)),
        ("capacity(0)", Config::new().capacity(0)),
        ("max_connections(0)", Config::new().max_connections(0)),
        ("same_site(None)", Config::new().same_site(SameSite::None)),
        ("cookie_name(__Host-x)", Config::new().cookie_name("__Host-x")),
        ("cookie_path()", Config::new().cookie_path("")),
        ("cookie_domain()", Config::new().cookie_domain("")),
        ("secret_keys(geheim)", Config::new().secret_keys(["geheim"])),
        ("key_prefix(space)", Config::new().key_prefix(" ")),
    ];
    for (call, code) in cases {
        case(&mut shown, call, &message_of("", "", &code, true, true));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn files_and_the_environment() {
    figment::Jail::expect_with(|jail| {
        let mut shown = String::new();
        let directory = jail.directory().display().to_string();
        let cases = [
            ("[default.session]\nexpires = \"1 hour\"", ""),
            ("[default.session]\ntimeout = 0", ""),
            ("[default.session]\ntimeout = \"soon\"\nexpiry = true\nstorre = 3", ""),
            ("[default.session]\ntimeout = 0\nexpiry = 0\ncookie_name = \"\"", ""),
            ("[default.session]\nexpiry = \"1 hour\"\n[release.session]\nexpiry = \"soon\"", ""),
            ("[global.session]\nsecure = 1", ""),
            ("[default]\nsession = 3", ""),
            ("[default]\nsession = \"geheim\"", ""),
            ("[default]\nsession = [\"geheim\"]", ""),
            ("[default.session]\nexpiry = \"1 hour\"", "{expiry=true}"),
            ("[default.session]\nexpiry = \"1 hour\"", "{cooky_name=\"x\"}"),
            ("[default.session]\nexpiry = \"soon\"", "{timeout=0}"),
            ("[default.session]\nexpiry = 0", "{timeout=0}"),
            ("[default.session]\nexpiry = \"2 days\"", "{max_lifetime=\"1 day\"}"),
            ("", "{secret_keys=['geheim'], expiry=\"1 hour\"}"),
            ("", "{store=\"postgres://u:geheim@h/db\""),
            ("", "geheim"),
            ("", "7"),
            ("", "{secret_keys=[\"geheim\"]}"),
            ("", "{secret_keys=[7]}"),
        ];
        for (toml, session) in cases {
            jail.create_file("Rocket.toml", toml)?;
            jail.set_env("ROCKET_SESSION", if session.is_empty() { "{}" } else { session });
            jail.set_env("ROCKET_PROFILE", "release");
            let message = match resolve(&rocket::Config::figment(), "session", &Config::new(), false, true) {
                Ok(_) => "accepted".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(!message.contains("geheim"), "{message}");
            let configured = [toml, session].join(" | ");
            case(&mut shown, &configured, &message.replace(&directory, "").replace("/private", ""));
        }
        insta::assert_snapshot!(shown);
        Ok(())
    });
}
