//! Reads the configuration from a figment.

use rocket::figment::error::Kind;
use rocket::figment::providers::Serialized;
use rocket::figment::value::{Dict, Map, Value};
use rocket::figment::{self, Figment, Metadata, Profile, Provider};

use super::check::{KEY_FORM, problems};
use super::definition::Config;
use super::names::meant;
use crate::base::error::{Error, ErrorKind, Result};
use crate::commit::sealed::SecretKey;

impl Config {
    /// Reads and checks the configuration that a launch would use with this figment and this table.
    ///
    /// Configuration in code is not included. In the result, `secure` and `cookie_name` are set, and the `secret_keys`
    /// of a sealed cookie contain Rocket's `secret_key` if no other key is set. In the profile `debug`, `secret_keys`
    /// can be empty, because a launch would draw a random key.
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

/// Reads and checks a configuration as [`Config::from_figment`] does, with `code` as defaults. `store` replaces the
/// configured store.
pub(super) fn read(figment: &Figment, table: &str, code: &Config, store: Option<&str>) -> Result<Config> {
    let refusal = |problem: String| Err(Error::new(ErrorKind::Config, problem));
    if let Ok(value) = figment.find_value(table)
        && value.as_dict().is_none()
    {
        let source = figment.get_metadata(value.tag()).map(origin).unwrap_or_default();
        return refusal(format!("`{table}`{source}: {}", not_a_table(table, &value)));
    }
    let merged = figment.focus(table).join(Code(code));
    let mut config: Config = match merged.extract() {
        Ok(config) => config,
        Err(error) => return refusal(explain(error, table)),
    };
    if let Some(store) = store {
        store.clone_into(&mut config.store);
    }
    let debug = figment.profile() == rocket::Config::DEBUG_PROFILE;
    if let Err(problem) = complete(&mut config, figment, debug) {
        let source = figment.find_metadata("secret_key").map(origin).unwrap_or_default();
        return refusal(format!("`secret_key`{source}: {problem}"));
    }
    let problems = problems(&config, debug).into_iter().map(|(key, fix)| {
        let source = merged.find_metadata(key).map(origin).unwrap_or_default();
        format!("`{table}.{key}`{source}: {fix}")
    });
    let problems: Vec<String> = problems.collect();
    if !problems.is_empty() {
        return refusal(problems.join("; "));
    }
    // Rocket represents a missing key by zeros.
    config.secret_keys.retain(|text| SecretKey::from_text(text).is_some_and(|key| !key.is_zero()));
    Ok(config)
}

/// The figment provider of the configuration in code.
struct Code<'a>(&'a Config);

impl Provider for Code<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named("code")
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let mut data = Serialized::defaults(self.0).data()?;
        let keys = data.entry(Profile::Default).or_default();
        // `Serialize` masks these values, so they are inserted unmasked.
        keys.insert("store".into(), self.0.store.clone().into());
        if let Some(cache) = &self.0.cache {
            keys.insert("cache".into(), cache.clone().into());
        }
        if !self.0.secret_keys.is_empty() {
            keys.insert("secret_keys".into(), self.0.secret_keys.clone().into());
        }
        Ok(data)
    }
}

/// Sets the values whose defaults depend on Rocket's configuration.
///
/// # Errors
/// If a sealed cookie needs Rocket's `secret_key` and that key is invalid. The error says what to write.
fn complete(config: &mut Config, figment: &Figment, debug: bool) -> Result<(), String> {
    // An invalid figment is ignored here, because Rocket reports it at launch.
    let tls = rocket::Config::try_from(figment).is_ok_and(|config| config.tls_enabled());
    let secure = *config.secure.get_or_insert(tls || !debug);
    // A leading dot is removed, because browsers ignore it.
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

/// Returns the message for a value that is not a table. A string is not shown, because it may be a malformed table with
/// secrets.
fn not_a_table(table: &str, value: &Value) -> String {
    let found = value.as_str().map_or("another value", |_| "a string");
    let variable = table.to_uppercase();
    format!(
        "found {found}, expected a table: write `[default.{table}]`, or in a shell \
         `ROCKET_{variable}='{{expiry=\"1 hour\",max_size=65536}}'`, with strings in double quotes"
    )
}

/// Returns the message for an error of figment: the key, its source and the fix.
fn explain(error: figment::Error, table: &str) -> String {
    let lines = error.into_iter().map(|error| {
        let source = error.metadata.as_ref().map(origin).unwrap_or_default();
        let path = error.path.join(".");
        match &error.kind {
            Kind::UnknownField(name, known) => {
                let hint = meant(name, known).map_or_else(
                    || format!("the keys are {}", known.join(", ")),
                    |key| format!("did you mean `{key}`?"),
                );
                format!("`{table}.{name}`{source}: unknown key; {hint}")
            }
            // The file is unreadable. Only the first line is shown, because the next ones quote the file, which may
            // contain a password.
            kind if path.is_empty() => {
                let message = kind.to_string();
                format!("the configuration{source} cannot be read: {}", message.lines().next().unwrap_or_default())
            }
            kind => format!("`{table}.{path}`{source}: {}", without_type_names(kind.to_string())),
        }
    });
    lines.collect::<Vec<_>>().join("; ")
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
