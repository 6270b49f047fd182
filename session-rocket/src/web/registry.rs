//! The session types of one site: those with one URL share a store, and none may pass for another.

use std::sync::{Arc, Mutex, PoisonError};

use crate::base::error::{Error, ErrorKind, Result};
use crate::session::SessionData;
use crate::store::{self, Store};

/// What the fairings of several session types have in common.
#[derive(Default)]
pub(super) struct Registry(Mutex<Vec<Entry>>);

/// One attached session type.
pub(super) struct Entry {
    type_name: &'static str,
    config: &'static str,
    scope: &'static str,
    cookie_name: String,
    pub opened: Option<(store::Options, Arc<dyn Store>)>,
    pub swept: bool,
}

impl Registry {
    /// The store that another session type has opened with the same options, and whether it is swept.
    pub(super) fn opened(&self, options: &store::Options) -> Option<(Arc<dyn Store>, bool)> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |entry: &&Entry| entry.opened.as_ref().is_some_and(|(other, _)| other.same_place(options));
        let (_, store) = entries.iter().find(same)?.opened.as_ref()?;
        Some((store.clone(), entries.iter().filter(same).any(|entry| entry.swept)))
    }

    /// Notes another session type.
    pub(super) fn add(&self, entry: Entry) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// Two session types with one table, one cookie or one scope would read each other's sessions.
    pub(super) fn refuse_clashes(&self, new: &Entry) -> Result<()> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Entry { type_name, config, scope, cookie_name, .. } in entries.iter() {
            if *config == new.config {
                let context = format!(
                    "`{type_name}` and `{}` both use the configuration table `{config}`: give one of them a table of \
                     its own with `#[session(config = \"…\")]`",
                    new.type_name
                );
                return Err(Error::new(ErrorKind::Config, context));
            }
            if *scope == new.scope {
                let context = format!(
                    "`{type_name}` and `{}` have the same scope `{scope}`: give one of them a scope of its own with \
                     `#[session(scope = \"…\")]`",
                    new.type_name
                );
                return Err(Error::new(ErrorKind::Config, context));
            }
            if *cookie_name == new.cookie_name {
                let context = format!(
                    "`{type_name}` and `{}` both use the cookie `{cookie_name}`: set another `cookie_name` in `{}`",
                    new.type_name, new.config
                );
                return Err(Error::new(ErrorKind::Config, context));
            }
        }
        Ok(())
    }
}

impl Entry {
    /// The entry of a type whose store is not open yet.
    pub(super) fn of<T: SessionData>(cookie_name: &str) -> Self {
        let cookie_name = cookie_name.to_owned();
        Self { type_name: T::NAME, config: T::CONFIG, scope: T::SCOPE, cookie_name, opened: None, swept: false }
    }
}
