//! The items that generated code uses. They are not part of the public API and change without notice.

pub use serde::{Deserializer, Serializer};

pub use crate::base::error::Error;
pub use crate::data::field::{AnyField, Defaulted, Encoding, ExtraKeys, Field, FieldValue, Identity, Optional};
pub use crate::data::schema::Schema;
pub use crate::session::{SessionData, SessionFields, SessionIdentity};
pub use crate::state::State;
pub use crate::state::change::{Edit, View};
pub use crate::web::guard::{
    FromRequest, Ignite, Outcome, Request, Rocket, Sentinel, SnapshotFuture, missing_fairing, snapshot,
};
