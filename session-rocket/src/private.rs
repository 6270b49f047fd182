//! All that generated code may name. Nothing in here is for anybody else: it changes without notice.

pub use crate::change::{Edit, View};
pub use crate::data::{Schema, SessionData, SessionFields};
pub use crate::error::Error;
pub use crate::field::{AnyField, Defaulted, ExtraKeys, Field, FieldValue, Identity, Optional};
pub use crate::state::State;
pub use crate::web::guard::{
    FromRequest, Ignite, Outcome, Request, Rocket, Sentinel, SnapshotFuture, missing_fairing, snapshot,
};
