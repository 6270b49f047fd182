//! The configuration as a program beside the site reads it: without what the site gives in code.

use rocket::figment::value::{Dict, Map, Value};
use rocket::figment::{self, Figment, Metadata, Profile, Provider, util};
use serde::de::IgnoredAny;

use super::Config;
use super::settings::{Settings, resolve};
use crate::base::error::{Error, ErrorKind, Result};

/// The table of a session type that names none.
const TABLE: &str = "session";

/// What to read, and what is said in its place.
#[derive(Default)]
pub(crate) struct Beside<'a> {
    /// Rocket's profile. Default: Rocket's.
    pub profile: Option<&'a str>,
    /// The configuration's table; one that is named has to be there. Default: `session`.
    pub config: Option<&'a str>,
    pub store: Option<&'a str>,
    pub table: Option<&'a str>,
    pub timeout: Option<&'a str>,
}

impl Beside<'_> {
    /// Reads `Rocket.toml` and the environment, as a launch does.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a file, a key or a value is wrong.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let figment = rocket::Config::figment();
        self.read(self.profile.map_or(figment.clone(), |profile| figment.select(profile)))
    }

    fn read(&self, figment: Figment) -> Result<Settings> {
        figment.extract::<IgnoredAny>().map_err(|error| unreadable(&error))?;
        if let Some(table) = self.config
            && !figment.contains(table)
        {
            let variable = table.to_uppercase();
            let context =
                format!("there is no table `{table}`, neither in `Rocket.toml` nor as `ROCKET_{variable}={{…}}`");
            return Err(Error::new(ErrorKind::Config, context));
        }
        let debug = figment.profile() == rocket::Config::DEBUG_PROFILE;
        // This program may lack Rocket's TLS, so the table is looked up here. With it, Rocket has an empty default.
        let has_tls = figment.find_value("tls").is_ok_and(|table| table.as_dict().is_some());
        let code = if has_tls { Config::new().secure(true) } else { Config::new() };
        resolve(&figment.merge(self), self.config.unwrap_or(TABLE), &code, debug, true)
    }
}

impl Provider for &Beside<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named("the command line")
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        // A number of seconds is one in `Rocket.toml`, too.
        let span = |text: &str| text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from);
        let given = [
            ("store", self.store.map(Value::from)),
            ("table", self.table.map(Value::from)),
            ("timeout", self.timeout.map(span)),
        ];
        let dict: Dict = given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        let nested =
            if dict.is_empty() { None } else { util::nest(self.config.unwrap_or(TABLE), dict.into()).into_dict() };
        Ok(Map::from([(Profile::Global, nested.unwrap_or_default())]))
    }
}

/// Without the text around the mistake, in which a password may stand.
fn unreadable(error: &figment::Error) -> Error {
    let source = error.metadata.as_ref().map(super::given::origin).unwrap_or_default();
    let text = error.kind.to_string();
    let place = text.lines().next().unwrap_or_default();
    Error::new(ErrorKind::Config, format!("the configuration{source} cannot be read: {place}"))
}

#[cfg(test)]
#[allow(clippy::result_large_err, reason = "the error of figment's jail")]
mod tests {
    use rocket::figment::Jail;

    use super::*;

    fn refused(beside: &Beside<'_>) -> String {
        let error = beside.settings().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_the_profile() {
        Jail::expect_with(|jail| {
            jail.create_file("Rocket.toml", "[release.session]\ntimeout = 1\nstore = \"sqlite:a\"\nexpiry = 60\n")?;
            jail.set_env("ROCKET_SESSION", "{table=\"b\",capacity=7}");
            let beside = Beside { profile: Some("release"), ..Beside::default() };
            let found = beside.settings().unwrap().store;
            assert_eq!((found.url.as_str(), found.table.as_str(), found.timeout.as_secs()), ("sqlite:a", "b", 1));
            let beside = Beside { store: Some("sqlite:c"), table: Some("d"), timeout: Some("2"), ..beside };
            let settings = beside.settings().unwrap();
            let found = &settings.store;
            assert_eq!((found.url.as_str(), found.table.as_str(), found.timeout.as_secs()), ("sqlite:c", "d", 2));
            assert_eq!((settings.policy.lifetime.as_secs(), found.capacity), (60, 7), "the rest is gone");
            let says = refused(&Beside { timeout: Some("soon"), ..beside });
            assert!(says.contains("`session.timeout` (in the command line)"), "{says}");
            Ok(())
        });
    }

    #[test]
    fn another_table_is_read_if_it_is_there() {
        Jail::expect_with(|jail| {
            let beside = Beside { config: Some("admin"), store: Some("sqlite:c"), ..Beside::default() };
            assert!(refused(&beside).contains("`ROCKET_ADMIN={…}`"));
            jail.create_file("Rocket.toml", "[default.admin]\ntable = \"admins\"\n[default.session]\ntable = \"x\"\n")?;
            let found = beside.settings().unwrap().store;
            assert_eq!((found.url.as_str(), found.table.as_str()), ("sqlite:c", "admins"));
            Ok(())
        });
    }

    #[test]
    fn a_site_with_tls_has_a_secure_cookie_here_too() {
        Jail::expect_with(|jail| {
            let beside = Beside { profile: Some("debug"), ..Beside::default() };
            assert!(!beside.settings().unwrap().cookie.secure);
            jail.create_file("Rocket.toml", "[default.tls]\ncerts = \"c.pem\"\nkey = \"k.pem\"\n")?;
            assert!(beside.settings().unwrap().cookie.secure);
            Ok(())
        });
    }

    #[test]
    fn a_file_that_is_none_is_named_and_not_shown() {
        Jail::expect_with(|jail| {
            jail.create_file("Rocket.toml", "[default.session]\nstore = \"postgres://me:secret@host/x\n")?;
            let says = refused(&Beside { store: Some("sqlite:c"), ..Beside::default() });
            assert!(says.contains("Rocket.toml") && says.contains("line 2") && !says.contains("secret"), "{says}");
            Ok(())
        });
    }
}
