//! The site's configuration, without what the site sets in code.

use rocket::figment::providers::Serialized;
use rocket::figment::value::{Dict, Map, Value};
use rocket::figment::{self, Figment, Metadata, Profile, Provider, util};
use session_rocket::{Config, Error, ErrorKind, Result};

use super::args::Options;

/// The configuration's table if a session type names none.
const TABLE: &str = "session";

/// Reads `Rocket.toml` and the environment, as a launch does, and then `options`.
///
/// # Errors
/// [`ErrorKind::Config`] if a file, a key or a value is invalid.
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
    Config::from_figment(&with_tls(figment, table).merge(options), table)
}

/// A site with TLS has a secure cookie. This program may lack Rocket's feature `tls`, so it looks at the table. With the
/// feature, Rocket's default for `tls` is empty.
fn with_tls(figment: Figment, table: &str) -> Figment {
    if figment.find_value("tls").is_ok_and(|tls| tls.as_dict().is_some()) {
        figment.join(Serialized::default(&format!("{table}.secure"), true))
    } else {
        figment
    }
}

/// What the command line says instead of the configuration.
impl Provider for &Options {
    fn metadata(&self) -> Metadata {
        Metadata::named("the command line")
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        // As in `Rocket.toml`, a number without a unit is a number of seconds.
        let duration = |text: &String| text.parse::<u64>().map_or_else(|_| Value::from(text.clone()), Value::from);
        let given = [
            ("store", self.store.clone().map(Value::from)),
            ("table", self.table.clone().map(Value::from)),
            ("timeout", self.timeout.as_ref().map(duration)),
        ];
        let given: Dict = given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        if given.is_empty() {
            return Ok(Map::new());
        }
        let nested = util::nest(self.config.as_deref().unwrap_or(TABLE), given.into());
        Ok(Map::from([(Profile::Global, nested.into_dict().unwrap_or_default())]))
    }
}

#[cfg(test)]
#[allow(clippy::result_large_err, reason = "the error of figment's jail")]
mod tests {
    use std::time::Duration;

    use figment::Jail;

    use super::*;

    fn refused(options: &Options) -> String {
        let error = read(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_the_profile() {
        Jail::expect_with(|jail| {
            jail.create_file("Rocket.toml", "[release.session]\ntimeout = 1\nstore = \"sqlite:a\"\nexpiry = 60\n")?;
            jail.set_env("ROCKET_SESSION", "{table=\"b\",capacity=7}");
            let options = Options { profile: Some("release".into()), ..Options::default() };
            let found = read(&options).unwrap();
            assert_eq!((found.store.as_str(), found.table.as_str(), found.timeout.as_secs()), ("sqlite:a", "b", 1));
            let options = Options {
                store: Some("sqlite:c".into()),
                table: Some("d".into()),
                timeout: Some("2".into()),
                ..options
            };
            let found = read(&options).unwrap();
            assert_eq!((found.store.as_str(), found.table.as_str(), found.timeout.as_secs()), ("sqlite:c", "d", 2));
            assert_eq!((found.expiry, found.capacity), (Duration::from_mins(1), 7), "the rest is gone");
            let says = refused(&Options { timeout: Some("soon".into()), ..options });
            assert!(says.contains("`session.timeout` (in the command line)"), "{says}");
            Ok(())
        });
    }

    #[test]
    fn another_table_is_read_if_it_exists() {
        Jail::expect_with(|jail| {
            let options =
                Options { config: Some("admin".into()), store: Some("sqlite:c".into()), ..Options::default() };
            assert!(refused(&options).contains("`ROCKET_ADMIN={…}`"));
            jail.create_file("Rocket.toml", "[default.admin]\ntable = \"admins\"\n[default.session]\ntable = \"x\"\n")?;
            let found = read(&options).unwrap();
            assert_eq!((found.store.as_str(), found.table.as_str()), ("sqlite:c", "admins"));
            Ok(())
        });
    }

    #[test]
    fn a_site_with_tls_has_a_secure_cookie_here_too() {
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
    fn an_unreadable_file_is_named_and_not_shown() {
        Jail::expect_with(|jail| {
            jail.create_file("Rocket.toml", "[default.session]\nstore = \"postgres://me:secret@host/x\n")?;
            for config in [None, Some("admin".into())] {
                let says = refused(&Options { store: Some("sqlite:c".into()), config, ..Options::default() });
                assert!(says.contains("Rocket.toml) cannot be read") && says.contains("line 2"), "{says}");
                assert!(!says.contains("secret"), "{says}");
            }
            Ok(())
        });
    }
}
