//! What both engines share for one session type: limits, encoding, and running user code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::expiry::Policy;
use crate::base::limit::SessionLimit;
use crate::data::codec::{Format, PayloadError};
use crate::data::schema::Schema;
use crate::data::values::Values;
use crate::state::change::Change;
use crate::state::{CookieEffect, Live, while_replaying};
use crate::store::record::Record;

/// The maximum length of an identity in bytes. Every store accepts identities of this length.
const MAX_IDENTITY: usize = 255;

/// Whether the log already warns that `max_lifetime` limits an expiry from `set_expiry`.
static WARNED_OF_LIMIT: AtomicBool = AtomicBool::new(false);

#[derive(Clone)]
pub(crate) struct Rules {
    pub clock: Arc<dyn Clock>,
    pub schema: &'static Schema,
    pub scope: &'static str,
    pub policy: Policy,
    /// The format in which payloads are written.
    pub format: Format,
    /// The maximum size of a payload, in bytes.
    pub max_size: usize,
    pub limit: Option<SessionLimit>,
    /// The interval at which a task that waits for the end of a session asks the store.
    pub poll_interval: Duration,
}

impl Rules {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns when a session that is saved at `now` expires. Warns once if `max_lifetime` limits an expiry from
    /// `set_expiry`.
    pub(super) fn expires_at(&self, values: &Values, created_at: Timestamp, now: Timestamp) -> Timestamp {
        let lifetime = values.lifetime();
        if self.policy.is_capped(&lifetime, created_at) && !WARNED_OF_LIMIT.swap(true, Ordering::Relaxed) {
            log::warn!(
                target: "session_rocket",
                "`set_expiry` gave a session of type `{}` a longer lifetime than `max_lifetime` allows: \
                 raise `max_lifetime`, or call `set_max_lifetime` for this session",
                self.schema.type_name(),
            );
        }
        self.policy.expires_at(&lifetime, created_at, now)
    }

    /// Returns when a stored session expires. Limits that were lowered after its last save apply too.
    pub(super) fn expires_at_load(&self, values: &Values, record: &Record) -> Timestamp {
        let Record { created_at, updated_at, expires_at, .. } = *record;
        self.policy.expires_at_load(&values.lifetime(), (created_at, updated_at, expires_at), || self.now())
    }

    /// Returns [`CookieEffect::Set`] if a save changed the expiry of the cookie, so that the browser needs the cookie
    /// again.
    pub(super) fn cookie_after(
        &self,
        old: &Live,
        old_values: &Values,
        new: &Live,
        new_values: &Values,
    ) -> CookieEffect {
        let until = |live: &Live, values: &Values| {
            self.policy.cookie_expires_at(&values.lifetime(), live.created_at, live.expires_at)
        };
        if until(old, old_values) == until(new, new_values) { CookieEffect::None } else { CookieEffect::Set }
    }

    /// Returns the values of a payload, or `None` if the payload is damaged.
    ///
    /// # Errors
    /// If this build does not support the format of the payload. Another build can still read the session, and starting
    /// an empty session would lose the data.
    #[inline]
    pub(super) fn read(&self, payload: &Bytes, identity: Option<String>) -> Result<Option<Values>> {
        match Values::load(self.schema, payload, identity) {
            Ok(values) => Ok(Some(values)),
            Err(PayloadError::Corrupt) => Ok(None),
            Err(PayloadError::UnknownFormat) => {
                let name = self.schema.type_name();
                let context = format!(
                    "a session of type `{name}` is stored in a format that this build does not support: enable the cargo \
                     feature of the format, or use the release that wrote it"
                );
                Err(Error::new(ErrorKind::Unavailable, context))
            }
        }
    }

    pub(super) fn replay(&self, changes: &[Change], values: &mut Values) -> Result<()> {
        self.guarded(|| while_replaying(|| changes.iter().for_each(|change| change.apply(values))))
    }

    /// Whether two sessions belong to the same user, or both belong to nobody.
    pub(super) fn same_owner(&self, one: &Values, other: &Values) -> Result<bool> {
        self.guarded(|| one.owner() == other.owner())
    }

    /// Returns the identity to store.
    ///
    /// # Errors
    /// If the identity is too long, or user code panics.
    pub(super) fn identity(&self, values: &Values) -> Result<Option<String>> {
        let identity = self.guarded(|| values.identity())?;
        if identity.as_ref().is_some_and(|identity| identity.len() > MAX_IDENTITY) {
            let name = self.schema.type_name();
            let context = format!(
                "the identity of session type `{name}` is longer than {MAX_IDENTITY} bytes: use a shorter id of the user"
            );
            return Err(Error::new(ErrorKind::Encode, context));
        }
        Ok(identity)
    }

    /// Encodes the values that were set.
    ///
    /// # Errors
    /// If a value cannot be encoded, or the identity or the payload is too large.
    pub(super) fn encode(&self, values: &mut Values) -> Result<()> {
        self.guarded(|| values.encode())??;
        self.identity(values)?;
        if values.size_at_most() > self.max_size {
            let size = values.payload(self.format).len();
            if size > self.max_size {
                let (name, limit) = (self.schema.type_name(), self.max_size);
                let context = format!(
                    "a session of type `{name}` has {size} bytes, but `max_size` is {limit}: store less data, or raise \
                     `max_size`"
                );
                return Err(Error::new(ErrorKind::TooLarge, context));
            }
        }
        Ok(())
    }

    /// Runs user code, and turns a panic into an error.
    fn guarded<R>(&self, run: impl FnOnce() -> R) -> Result<R> {
        // After an error, the caller drops the values, which a panic may leave half changed.
        catch_unwind(AssertUnwindSafe(run)).map_err(|_| {
            let name = self.schema.type_name();
            let context = format!(
                "an `update` closure or a trait implementation of session type `{name}` panicked during a save"
            );
            Error::new(ErrorKind::Panicked, context)
        })
    }
}
