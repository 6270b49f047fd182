//! The traits that the derive implements.

use crate::data::schema::Schema;
use crate::state::State;
use crate::state::change::{Edit, View};

/// A type whose fields live in a session. Derive it: `#[derive(Session)]`.
///
/// The derive makes everything in here; nothing of it is meant to be written or called by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a session type",
    note = "declare it with `#[derive(session_rocket::Session)]`"
)]
pub trait SessionData: Sized + Send + Sync + 'static {
    /// The accessors of the fields, which `Session<Self>` dereferences to.
    type Fields: SessionFields;

    /// The type's name, for logs.
    #[doc(hidden)]
    const NAME: &'static str;

    /// The configuration table.
    #[doc(hidden)]
    const CONFIG: &'static str;

    /// The scope: part of each store key, of each record and of what authenticates a sealed cookie. Sessions of two
    /// scopes are never the same, even in one store.
    #[doc(hidden)]
    const SCOPE: &'static str;

    #[doc(hidden)]
    fn schema() -> &'static Schema;

    #[doc(hidden)]
    fn snapshot(view: &mut View) -> Self;

    #[doc(hidden)]
    fn replace(self, edit: &mut Edit);
}

/// The generated struct that carries the accessors.
#[doc(hidden)]
pub trait SessionFields: Send + Sync + 'static {
    /// Accessors of the session that `state` is of.
    fn new(state: State) -> Self;
    /// The state the accessors work on.
    fn state(&self) -> &State;
}
