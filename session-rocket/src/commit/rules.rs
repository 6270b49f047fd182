//! What holds for all sessions of one type, wherever they are kept.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::change::Change;
use crate::clock::{Clock, Timestamp};
use crate::codec::Format;
use crate::data::Schema;
use crate::error::{Error, ErrorKind, Result};
use crate::expiry::Policy;
use crate::state::replay;
use crate::values::{Values, too_large};

/// What all sessions of one type have in common.
pub(crate) struct Rules {
    pub clock: Arc<dyn Clock>,
    pub schema: &'static Schema,
    pub scope: &'static str,
    pub policy: Policy,
    /// What values are encoded in from now on.
    pub format: Format,
    /// How many bytes a payload may take.
    pub max_size: usize,
}

impl Rules {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Makes changes on other values than they were made on first.
    pub(super) fn replay(&self, changes: &[Change], values: &mut Values) -> Result<()> {
        self.guarded(|| replay(|| changes.iter().for_each(|change| change.apply(values))))
    }

    /// Encodes what was set.
    pub(super) fn encode(&self, values: &mut Values) -> Result<()> {
        self.guarded(|| values.settle(self.format))??;
        if values.size_at_most() > self.max_size {
            let size = values.payload(self.format).len();
            if size > self.max_size {
                return Err(too_large(self.schema, size, self.max_size));
            }
        }
        Ok(())
    }

    /// Runs user code; a panic becomes an error.
    pub(super) fn guarded<R>(&self, run: impl FnOnce() -> R) -> Result<R> {
        // What the code half changed is dropped with the error.
        catch_unwind(AssertUnwindSafe(run)).map_err(|_| {
            let name = self.schema.type_name();
            let context = format!("a change of session type `{name}` panicked while it was saved");
            Error::new(ErrorKind::Panicked, context)
        })
    }
}
