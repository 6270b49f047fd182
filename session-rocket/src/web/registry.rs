//! The session types of one site. Types with the same store options share a store, but two types cannot share a cookie.

use std::sync::{Arc, Mutex, PoisonError};

use super::config::Settings;
use super::transport::Transport;
use crate::base::error::{Error, ErrorKind, Result};
use crate::session::SessionData;
use crate::store::{self, Store};

/// The session types whose fairings are attached.
#[derive(Default)]
pub(super) struct Registry(Mutex<Vec<Entry>>);

/// One attached session type.
pub(super) struct Entry {
    type_name: &'static str,
    config: &'static str,
    scope: &'static str,
    /// The names of the session cookie and of the CSRF cookie. Empty if the type uses no cookies.
    cookie_names: Vec<String>,
    new_id_header: Option<String>,
    pub opened_store: Option<(store::Options, Arc<dyn Store>)>,
    pub is_swept: bool,
}

impl Registry {
    /// Returns the store that another session type opened with the same options, and whether a sweep task runs for it.
    pub(super) fn find_opened_store(&self, options: &store::Options) -> Option<(Arc<dyn Store>, bool)> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |entry: &&Entry| entry.opened_store.as_ref().is_some_and(|(other, _)| other.is_same(options));
        let (_, store) = entries.iter().find(same)?.opened_store.as_ref()?;
        Some((store.clone(), entries.iter().filter(same).any(|entry| entry.is_swept)))
    }

    pub(super) fn add(&self, entry: Entry) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// Refuses a session type that has the configuration table, scope, cookie or `new_id_header` of another type.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]. The message names both types and what to change.
    pub(super) fn refuse_clashes(&self, new: &Entry) -> Result<()> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.iter().find_map(|entry| entry.clash_with(new)) {
            Some(clash) => Err(Error::new(ErrorKind::Config, clash)),
            None => Ok(()),
        }
    }
}

impl Entry {
    /// Creates the entry of a type whose store is not open yet.
    pub(super) fn of<T: SessionData>(settings: &Settings) -> Self {
        let cookie = &settings.cookie;
        let uses_cookies = settings.transport != Transport::Bearer;
        Self {
            type_name: T::NAME,
            config: T::CONFIG,
            scope: T::SCOPE,
            cookie_names: if uses_cookies { vec![cookie.name.clone(), cookie.for_csrf().name] } else { Vec::new() },
            new_id_header: settings.new_id_header.as_ref().map(|name| name.to_ascii_lowercase()),
            opened_store: None,
            is_swept: false,
        }
    }

    /// Returns a message that says what this type and a new one share, and what to change.
    fn clash_with(&self, new: &Self) -> Option<String> {
        let Self { type_name, config, scope, cookie_names, new_id_header, .. } = self;
        let table = new.config;
        let both = format!("`{type_name}` and `{}`", new.type_name);
        if *config == new.config {
            Some(format!(
                "{both} both use the configuration table `{config}`: give one of them a table of its own with \
                 `#[session(config = \"…\")]`"
            ))
        } else if *scope == new.scope {
            Some(format!(
                "{both} have the same scope `{scope}`: give one of them a scope of its own with `#[session(scope = \"…\")]`"
            ))
        } else if let Some(name) = cookie_names.iter().find(|name| new.cookie_names.contains(name)) {
            Some(format!("{both} both use the cookie `{name}`: set another `cookie_name` in `{table}`"))
        } else {
            let header = new_id_header.as_ref().filter(|_| *new_id_header == new.new_id_header)?;
            Some(format!("{both} both use the header `{header}`: set another `new_id_header` in `{table}`"))
        }
    }
}
