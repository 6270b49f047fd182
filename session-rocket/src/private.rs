//! All that generated code may name. Nothing in here is for anybody else: it changes without notice.

pub use serde::{Deserializer, Serializer};

pub use crate::change::{Edit, View};
pub use crate::data::{Schema, SessionData, SessionFields};
pub use crate::error::Error;
pub use crate::field::{AnyField, Defaulted, Encoding, ExtraKeys, Field, FieldValue, Identity, Optional};
pub use crate::state::State;
pub use crate::web::guard::{
    FromRequest, Ignite, Outcome, Request, Rocket, Sentinel, SnapshotFuture, missing_fairing, snapshot,
};
