//! Reads the configuration from a figment.

use std::borrow::Cow;

use rocket::figment::error::Kind;
use rocket::figment::providers::Serialized;
use rocket::figment::value::{Dict, Map, Value};
use rocket::figment::{self, Figment, Metadata, Profile, Provider};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::check::{KEY_FORM, problems};
use super::definition::Config;
use super::names::{OTHER_NAMES, suggest_key};
use crate::base::error::{Error, ErrorKind, Result};
use crate::commit::sealed::SecretKey;

impl Config {
    /// Reads and checks the configuration that a launch would use with this figment and this table.
    ///
    /// Configuration in code is not included. In the result, `secure` and `cookie_name` have values. With sealed cookies,
    /// `secret_keys` has Rocket's `secret_key` if no other key is set. In the profile `debug`, `secret_keys` can be empty,
    /// because a launch would draw a random key.
    ///
    /// ```
    /// use rocket::figment::Figment;
    /// use session_rocket::Config;
    ///
    /// let figment = rocket::Config::figment().merge(("session.expiry", "30 minutes"));
    /// let config = Config::from_figment(&figment, "session")?;
    /// assert_eq!(config.expiry.as_secs(), 1800);
    /// # Ok::<(), session_rocket::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a file cannot be read, a key is unknown, or values are invalid or contradict each
    /// other. The message names each key, its source and the fix, and contains no secret.
    pub fn from_figment(figment: &Figment, table: &str) -> Result<Self> {
        read(figment, table, &Self::new(), None)
    }
}

/// Reads and checks a configuration as [`Config::from_figment`] does. The figment overrides `code`, and `store` overrides
/// the setting `store` of both.
pub(super) fn read(figment: &Figment, table: &str, code: &Config, store: Option<&str>) -> Result<Config> {
    let table = Table { name: table, example: "expiry=\"1 hour\",max_size=65536", other_names: &OTHER_NAMES };
    let (mut config, merged): (Config, _) = table.read(figment, &Code { values: code, unmasked: unmasked(code) })?;
    if let Some(store) = store {
        store.clone_into(&mut config.store);
    }
    let debug = figment.profile() == rocket::Config::DEBUG_PROFILE;
    if let Err(problem) = complete(&mut config, figment, debug) {
        let source = figment.find_metadata("secret_key").map(origin).unwrap_or_default();
        return Err(Error::new(ErrorKind::Config, format!("`secret_key`{source}: {problem}")));
    }
    table.refuse(&merged, problems(&config, debug))?;
    // Rocket sets a missing `secret_key` to zeros.
    config.secret_keys.retain(|text| SecretKey::from_text(text).is_some_and(|key| !key.is_zero()));
    Ok(config)
}

/// Returns the values that `Serialize` masks.
fn unmasked(config: &Config) -> Dict {
    let mut keys = Dict::from([("store".to_owned(), config.store.clone().into())]);
    if let Some(cache) = &config.cache {
        keys.insert("cache".into(), cache.clone().into());
    }
    if !config.secret_keys.is_empty() {
        keys.insert("secret_keys".into(), config.secret_keys.clone().into());
    }
    keys
}

/// A table of the configuration, such as `[default.session]`.
pub(crate) struct Table<'t> {
    pub name: &'t str,
    /// Keys and values for the message about a value that is not a table.
    pub example: &'static str,
    /// The names that other frameworks use, each with the corresponding key.
    pub other_names: &'static [(&'static str, &'static str)],
}

impl Table<'_> {
    /// Returns the values of the table, and the figment of the table. Both include `code`, which `figment` overrides.
    ///
    /// # Errors
    /// If a file cannot be read, a key is unknown, or a value has the wrong type.
    pub(crate) fn read<T: DeserializeOwned>(&self, figment: &Figment, code: impl Provider) -> Result<(T, Figment)> {
        let table = self.name;
        if let Ok(value) = figment.find_value(table)
            && value.as_dict().is_none()
        {
            let source = figment.get_metadata(value.tag()).map(origin).unwrap_or_default();
            let problem = format!("`{table}`{source}: {}", self.not_a_table(&value));
            return Err(Error::new(ErrorKind::Config, problem));
        }
        let merged = figment.focus(table).join(code);
        match merged.extract() {
            Ok(values) => Ok((values, merged)),
            Err(error) => Err(Error::new(ErrorKind::Config, self.explain(error))),
        }
    }

    /// Returns an error if `problems` is not empty. Each problem is a key and its fix.
    pub(crate) fn refuse(&self, merged: &Figment, problems: Vec<(&str, Cow<'_, str>)>) -> Result<()> {
        if problems.is_empty() {
            return Ok(());
        }
        let problems = problems.into_iter().map(|(key, fix)| {
            let source = merged.find_metadata(key).map(origin).unwrap_or_default();
            format!("`{}.{key}`{source}: {fix}", self.name)
        });
        Err(Error::new(ErrorKind::Config, problems.collect::<Vec<_>>().join("; ")))
    }

    /// Returns the message for a value that is not a table. Does not show a string, which may be a malformed table with
    /// secrets.
    fn not_a_table(&self, value: &Value) -> String {
        let found = value.as_str().map_or("another value", |_| "a string");
        let Self { name, example, .. } = self;
        let variable = name.to_uppercase();
        format!(
            "found {found}, expected a table: write `[default.{name}]`, or in a shell `ROCKET_{variable}='{{{example}}}'`, \
             with strings in double quotes"
        )
    }

    /// Returns the message for an error of figment: the key, its source and the fix.
    fn explain(&self, error: figment::Error) -> String {
        let table = self.name;
        let lines = error.into_iter().map(|error| {
            let source = error.metadata.as_ref().map(origin).unwrap_or_default();
            let path = error.path.join(".");
            match &error.kind {
                Kind::UnknownField(name, known) => {
                    let hint = suggest_key(name, known, self.other_names).map_or_else(
                        || format!("the keys are {}", known.join(", ")),
                        |key| format!("did you mean `{key}`?"),
                    );
                    format!("`{table}.{name}`{source}: unknown key; {hint}")
                }
                // The file is unreadable. Only the first line is shown, because the others show parts of the file, which
                // may contain a password.
                kind if path.is_empty() => {
                    let message = kind.to_string();
                    format!("the configuration{source} cannot be read: {}", message.lines().next().unwrap_or_default())
                }
                kind => format!("`{table}.{path}`{source}: {}", without_type_names(kind.to_string())),
            }
        });
        lines.collect::<Vec<_>>().join("; ")
    }
}

/// The figment provider of the configuration in code.
pub(crate) struct Code<'a, T> {
    pub values: &'a T,
    /// Replaces values that `Serialize` masks.
    pub unmasked: Dict,
}

impl<T: Serialize> Provider for Code<'_, T> {
    fn metadata(&self) -> Metadata {
        Metadata::named("code")
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let mut data = Serialized::defaults(self.values).data()?;
        data.entry(Profile::Default).or_default().extend(self.unmasked.clone());
        Ok(data)
    }
}

/// Sets the values whose defaults depend on Rocket's configuration.
///
/// # Errors
/// If a sealed cookie needs Rocket's `secret_key` and that key is invalid. The error says what to write.
fn complete(config: &mut Config, figment: &Figment, debug: bool) -> Result<(), String> {
    // An error counts as no TLS, because Rocket reports an invalid figment at launch.
    let tls = rocket::Config::try_from(figment).is_ok_and(|config| config.tls_enabled());
    let secure = *config.secure.get_or_insert(tls || !debug);
    // Browsers ignore a leading dot.
    config.cookie_domain = config.cookie_domain.take().map(|domain| domain.strip_prefix('.').unwrap_or(&domain).into());
    let is_host_only = secure && config.cookie_path == "/" && config.cookie_domain.is_none();
    let name = if is_host_only { "__Host-sessionid" } else { "sessionid" };
    config.cookie_name.get_or_insert_with(|| name.to_owned());
    if config.is_sealed()
        && config.secret_keys.is_empty()
        && let Ok(value) = figment.find_value("secret_key")
    {
        let key = rockets_key(&value).filter(|key| SecretKey::from_text(key).is_some());
        config.secret_keys.push(key.ok_or_else(|| format!("invalid key: write {KEY_FORM}"))?);
    }
    Ok(())
}

/// Returns Rocket's `secret_key` as a string. It can be configured as a string or as a list of bytes.
fn rockets_key(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Array(_, bytes) => {
            bytes.iter().map(|byte| byte.deserialize::<u8>().ok().map(|byte| format!("{byte:02x}"))).collect()
        }
        _ => None,
    }
}

/// Replaces names of Rust types in a message.
fn without_type_names(mut message: String) -> String {
    const NAMES: [(&str, &str); 3] = [
        ("expected u32", "expected a whole number, at most 4294967295"),
        ("expected usize", "expected a whole number"),
        ("expected byte unit string", "expected a size, such as \"256 KiB\", or a number of bytes"),
    ];
    if let Some((name, words)) = NAMES.iter().find(|(name, _)| message.ends_with(name)) {
        message.replace_range(message.len() - name.len().., words);
    }
    message
}

/// Returns the source of a value, to append to its key.
fn origin(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(source) => format!(" (in {source})"),
        None => format!(" (in {})", metadata.name),
    }
}
