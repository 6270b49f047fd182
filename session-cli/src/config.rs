//! Reads the site's configuration. This program does not see settings in the site's code.

use rocket::figment::providers::Serialized;
use rocket::figment::value::{Dict, Map, Value};
use rocket::figment::{self, Figment, Metadata, Profile, Provider, util};
use session_rocket::{Config, Error, ErrorKind, Result};

use super::args::Options;

/// The configuration table of session types without `#[session(config = "…")]`.
const TABLE: &str = "session";

/// Reads `Rocket.toml` and the environment, as a launch does. `options` override both.
///
/// # Errors
/// [`ErrorKind::Config`] if a file, a key or a value is invalid, or if the table in `options.config` is missing.
pub(super) fn read(options: &Options) -> Result<Config> {
    let figment = rocket::Config::figment();
    let figment = match &options.profile {
        Some(profile) => figment.select(profile.as_str()),
        None => figment,
    };
    let table = options.config.as_deref().unwrap_or(TABLE);
    if options.config.is_some() && figment.find_value(table).is_err_and(|error| error.missing()) {
        let variable = table.to_uppercase();
        let context = format!(
            "missing table `{table}`: expected `[default.{table}]` in `Rocket.toml`, or `ROCKET_{variable}={{…}}`"
        );
        return Err(Error::new(ErrorKind::Config, context));
    }
    Config::from_figment(&with_secure_if_tls(figment, table).merge(options), table)
}

/// Makes `true` the default of `secure` if the site uses TLS, as a launch does. Looks for the table `tls`, because this
/// program may be built without Rocket's feature `tls`. With the feature, `tls` is `None` if the site does not use TLS.
fn with_secure_if_tls(figment: Figment, table: &str) -> Figment {
    if figment.find_value("tls").is_ok_and(|tls| tls.as_dict().is_some()) {
        figment.join(Serialized::default(&format!("{table}.secure"), true))
    } else {
        figment
    }
}

/// The settings that the command line overrides.
impl Provider for &Options {
    fn metadata(&self) -> Metadata {
        Metadata::named("the command line")
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        // As in `Rocket.toml`, a number without a unit is a number of seconds.
        let duration = |text: &String| text.parse::<u64>().map_or_else(|_| Value::from(text.clone()), Value::from);
        let overrides = [
            ("store", self.store.clone().map(Value::from)),
            ("table", self.table.clone().map(Value::from)),
            ("timeout", self.timeout.as_ref().map(duration)),
        ];
        let overrides: Dict = overrides.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        if overrides.is_empty() {
            return Ok(Map::new());
        }
        let nested = util::nest(self.config.as_deref().unwrap_or(TABLE), overrides.into());
        Ok(Map::from([(Profile::Global, nested.into_dict().unwrap_or_default())]))
    }
}

#[cfg(test)]
#[allow(clippy::result_large_err, reason = "the error of figment's jail")]
mod tests {
    use std::time::Duration;

    use figment::Jail;

    use super::*;

    fn error_of(options: &Options) -> String {
        let error = read(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn the_command_line_overrides_the_environment_and_the_profile() {
        Jail::expect_with(|jail| {
            jail.create_file("Rocket.toml", "[release.session]\ntimeout = 1\nstore = \"sqlite:a\"\nexpiry = 60\n")?;
            jail.set_env("ROCKET_SESSION", "{table=\"b\",capacity=7}");
            let options = Options { profile: Some("release".into()), ..Options::default() };
            let config = read(&options).unwrap();
            assert_eq!((config.store.as_str(), config.table.as_str(), config.timeout.as_secs()), ("sqlite:a", "b", 1));
            let options = Options {
                store: Some("sqlite:c".into()),
                table: Some("d".into()),
                timeout: Some("2".into()),
                ..options
            };
            let config = read(&options).unwrap();
            assert_eq!((config.store.as_str(), config.table.as_str(), config.timeout.as_secs()), ("sqlite:c", "d", 2));
            assert_eq!((config.expiry, config.capacity), (Duration::from_mins(1), 7), "other settings stay");
            let error = error_of(&Options { timeout: Some("soon".into()), ..options });
            assert!(error.contains("`session.timeout` (in the command line)"), "{error}");
            Ok(())
        });
    }

    #[test]
    fn config_selects_another_table_that_must_exist() {
        Jail::expect_with(|jail| {
            let options =
                Options { config: Some("admin".into()), store: Some("sqlite:c".into()), ..Options::default() };
            assert!(error_of(&options).contains("`ROCKET_ADMIN={…}`"));
            jail.create_file("Rocket.toml", "[default.admin]\ntable = \"admins\"\n[default.session]\ntable = \"x\"\n")?;
            let config = read(&options).unwrap();
            assert_eq!((config.store.as_str(), config.table.as_str()), ("sqlite:c", "admins"));
            Ok(())
        });
    }

    #[test]
    fn a_site_with_tls_has_a_secure_cookie() {
        Jail::expect_with(|jail| {
            let options = Options { profile: Some("debug".into()), ..Options::default() };
            assert_eq!(read(&options).unwrap().secure, Some(false));
            let tls = "[default.tls]\ncerts = \"c.pem\"\nkey = \"k.pem\"\n";
            jail.create_file("Rocket.toml", tls)?;
            assert_eq!(read(&options).unwrap().secure, Some(true));
            jail.create_file("Rocket.toml", &format!("{tls}[debug.session]\nsecure = false\n"))?;
            assert_eq!(read(&options).unwrap().secure, Some(false));
            Ok(())
        });
    }

    #[test]
    fn an_error_names_an_invalid_file_but_does_not_show_its_content() {
        Jail::expect_with(|jail| {
            jail.create_file("Rocket.toml", "[default.session]\nstore = \"postgres://me:secret@host/x\n")?;
            for table in [None, Some("admin".into())] {
                let error = error_of(&Options { store: Some("sqlite:c".into()), config: table, ..Options::default() });
                assert!(error.contains("Rocket.toml) cannot be read") && error.contains("line 2"), "{error}");
                assert!(!error.contains("secret"), "{error}");
            }
            Ok(())
        });
    }
}
