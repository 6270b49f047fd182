//! The traits that the derive implements.

use crate::data::field::{Field, Identity, Optional};
use crate::data::schema::Schema;
use crate::state::State;
use crate::state::change::{Edit, View};

/// A struct whose fields are stored in a session.
///
/// Implement it with [`#[derive(Session)]`](macro@crate::Session). The derive generates all items of this trait, so
/// there is no need to write or call them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a session type",
    note = "declare it with `#[derive(session_rocket::Session)]`"
)]
pub trait SessionData: Sized + Send + Sync + 'static {
    /// The generated struct that has the accessors of the fields. `Session<Self>` dereferences to it.
    type Fields: SessionFields;

    /// The name of the type, for logs.
    #[doc(hidden)]
    const NAME: &'static str;

    /// The name of the configuration table.
    #[doc(hidden)]
    const CONFIG: &'static str;

    /// The scope, which keeps the sessions of this type apart from those of other types in the same store.
    ///
    /// It is a part of each store key, of each record, and of the authenticated data of a sealed cookie.
    #[doc(hidden)]
    const SCOPE: &'static str;

    #[doc(hidden)]
    fn schema() -> &'static Schema;

    #[doc(hidden)]
    fn snapshot(view: &mut View) -> Self;

    #[doc(hidden)]
    fn replace(self, edit: &mut Edit);
}

/// A session type that has an identity: a field with the id of the logged-in user.
///
/// [`#[derive(Session)]`](macro@crate::Session) implements it for a struct with a field marked `#[session(identity)]`.
#[diagnostic::on_unimplemented(
    message = "the session type `{Self}` has no identity",
    note = "mark the field that has the id of the logged-in user with `#[session(identity)]`"
)]
pub trait SessionIdentity: SessionData {
    /// The type of the user's id: the `I` of the identity field's type `Option<I>`.
    type Identity: Identity + Clone + Send + Sync + 'static;

    #[doc(hidden)]
    fn identity_field() -> &'static Field<Self::Identity, Optional>;
}

/// The generated struct that has the accessors.
#[doc(hidden)]
pub trait SessionFields: Send + Sync + 'static {
    /// Creates accessors for the session with this state.
    fn new(state: State) -> Self;
    /// Returns the state that the accessors read and change.
    fn state(&self) -> &State;
}
