use rocket::figment::providers::{Format, Toml};

use super::*;

/// Returns the launch log, or the error, for a `Rocket.toml` with this table and for these settings in code.
fn resolved(table: &str, code: &Settings) -> String {
    let toml = Toml::string(table).nested();
    match code.resolve(&rocket::Config::figment().merge(toml)) {
        Ok(rules) => rules.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_file_overrides_code_and_code_overrides_the_defaults() {
    let trusted_origins = vec!["https://Pay.example:443".to_owned()];
    let code =
        Settings { origin: Some("https://shop.example".into()), trusted_origins, strict: true, report_only: true };
    assert_eq!(resolved("", &Settings::default()), "own origin from the `Host` header");
    assert_eq!(resolved("", &code), "own origin https://shop.example, trusts https://pay.example, strict, report only");
    let table = "[default.cross_origin]\n\
        origin = \"http://localhost:8000\"\n\
        trusted_origins = [\"capacitor://localhost\", \"https://bank.example\"]\n\
        strict = false\n\
        report_only = false";
    assert_eq!(
        resolved(table, &code),
        "own origin http://localhost:8000, trusts capacitor://localhost, https://bank.example"
    );
}

/// Invalid settings with their messages, in which `@` stands for the source.
const MESSAGES: [(&str, &str); 13] = [
    ("trusted_origin = []", "`cross_origin.trusted_origin`@: unknown key; did you mean `trusted_origins`?"),
    (
        "allowed = true",
        "`cross_origin.allowed`@: unknown key; the keys are origin, trusted_origins, strict, report_only",
    ),
    ("strict = \"yes\"", "`cross_origin.strict`@: invalid type: found string \"yes\", expected a boolean"),
    (
        "trusted_origins = \"https://pay.example\"",
        "`cross_origin.trusted_origins`@: invalid type: found string \"https://pay.example\", expected a sequence",
    ),
    ("origin = 7", "`cross_origin.origin`@: invalid type: found signed int `7`, expected a string"),
    (
        "origin = \"shop.example:8000\"",
        "`cross_origin.origin`@: invalid origin \"shop.example:8000\": expected a scheme: write \
             \"https://shop.example:8000\"",
    ),
    (
        "trusted_origins = [\"https://pay.example/\", \"https://pay.example/checkout?a=b\"]",
        "`cross_origin.trusted_origins`@: invalid origin \"https://pay.example/\": expected no path: write \
             \"https://pay.example\"; `cross_origin.trusted_origins`@: invalid origin \
             \"https://pay.example/checkout?a=***\": expected no path: write \"https://pay.example\"",
    ),
    (
        "trusted_origins = [\"https://*.example\"]",
        "`cross_origin.trusted_origins`@: invalid origin \"https://*.example\": wildcards are not supported: list each \
             origin",
    ),
    (
        "trusted_origins = [\"*\"]",
        "`cross_origin.trusted_origins`@: invalid origin \"*\": wildcards are not supported: list each origin",
    ),
    (
        "trusted_origins = [\"null\"]",
        "`cross_origin.trusted_origins`@: invalid origin \"null\": pages of every site can have the origin `null`, so it \
             cannot be trusted: remove it",
    ),
    (
        "origin = \"https://b\u{fc}cher.example\"",
        "`cross_origin.origin`@: invalid origin \"https://b\u{fc}cher.example\": write the host in ASCII, as browsers send \
             it (`xn--…`)",
    ),
    (
        "origin = \"https://user:secret@shop.example\"",
        "`cross_origin.origin`@: invalid origin \"https://user:***@shop.example\": expected a scheme, a host and an \
             optional port, such as \"https://shop.example\"",
    ),
    ("origin = \"capacitor://localhost\"", "`cross_origin.origin`@: must begin with `http://` or `https://`"),
];

#[test]
fn each_message_says_which_key_is_wrong_and_what_to_write() {
    for (setting, expected) in MESSAGES {
        let message = resolved(&format!("[default.cross_origin]\n{setting}"), &Settings::default());
        assert_eq!(message, expected.replace("`@:", "` (in TOML source string):"));
    }
}

#[test]
fn a_message_about_code_says_so() {
    let code = Settings { origin: Some("shop.example".into()), ..Settings::default() };
    let expected = "`cross_origin.origin` (in code): invalid origin \"shop.example\": expected a scheme: write \
                    \"https://shop.example\"";
    assert_eq!(resolved("", &code), expected);
}

#[test]
fn a_value_that_is_no_table_is_refused() {
    let message = resolved("[default]\ncross_origin = true", &Settings::default());
    let expected = "`cross_origin` (in TOML source string): found another value, expected a table: write \
                    `[default.cross_origin]`, or in a shell `ROCKET_CROSS_ORIGIN='{strict=true}'`, with strings in double \
                    quotes";
    assert_eq!(message, expected);
}
