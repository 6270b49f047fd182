//! The data of a session: its fields, their encoding, and the stored payload.

pub(crate) mod auth;
pub(crate) mod codec;
pub(crate) mod csrf;
pub(crate) mod faithful;
pub(crate) mod field;
pub(crate) mod schema;
pub(crate) mod values;
