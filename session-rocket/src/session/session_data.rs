//! The traits that the derive implements.

use crate::data::field::{Field, Identity, Optional};
use crate::data::schema::Schema;
use crate::state::State;
use crate::state::change::{Edit, View};

/// A struct whose fields are stored in a session.
///
/// Implement this trait with [`#[derive(Session)]`](macro@crate::Session).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a session type",
    note = "declare it with `#[derive(session_rocket::Session)]`"
)]
pub trait SessionData: Sized + Send + Sync + 'static {
    /// The generated struct with the accessors, to which `Session<Self>` dereferences.
    type Fields: SessionFields;

    /// The name of the type, for logs.
    #[doc(hidden)]
    const NAME: &'static str;

    /// The name of the configuration table.
    #[doc(hidden)]
    const CONFIG: &'static str;

    /// The scope, which separates the sessions of this type from those of other types in the same store.
    ///
    /// Each record and the authenticated data of each sealed cookie contain the scope. A store key is a hash of the
    /// scope and the session id.
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
/// [`#[derive(Session)]`](macro@crate::Session) implements this trait for a struct with a field marked
/// `#[session(identity)]`.
#[diagnostic::on_unimplemented(
    message = "the session type `{Self}` has no identity",
    note = "mark the field that has the id of the logged-in user with `#[session(identity)]`"
)]
pub trait SessionIdentity: SessionData {
    /// The type of the user's id: `I` for a field of type `Option<I>`.
    type Identity: Identity + Clone + Send + Sync + 'static;

    #[doc(hidden)]
    fn identity_field() -> &'static Field<Self::Identity, Optional>;
}

/// The generated struct with the accessors.
#[doc(hidden)]
pub trait SessionFields: Send + Sync + 'static {
    /// Creates accessors for the session with this state.
    fn new(state: State) -> Self;
    /// Returns the state that the accessors read and change.
    fn state(&self) -> &State;
}
