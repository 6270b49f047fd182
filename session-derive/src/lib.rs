//! The derive macro of `session-rocket`. Depend on `session-rocket`, which re-exports the macro, not on this crate.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::unwrap_used)]

mod attr;
mod check;
mod errors;
mod expand;
mod model;
mod names;
mod serde;

use proc_macro::TokenStream;

/// Implements `SessionData` for a struct, and generates typed accessors for its fields.
///
/// ```text
/// use session_rocket::Session;
///
/// /// The data that the school site stores about a visitor.
/// #[derive(Session)]
/// struct Student {
///     sname: Option<String>,
///     semail: Option<String>,
///     #[session(default = "Guest")]
///     username: String,
///     num_visits: u32,
/// }
/// ```
///
/// Each field type must implement `Serialize + DeserializeOwned + Clone + Send + Sync + 'static`. The struct needs no
/// other derive.
///
/// # Accessors
///
/// The accessors are methods of a generated struct, `StudentFields`, to which `Session<Student>` dereferences. Each
/// accessor takes `&self` and has the visibility of its field. A field `f` has these accessors:
///
/// | | `f: Option<T>` | `f: T` |
/// |---|---|---|
/// | `f()` | returns the stored value or `None` | returns the stored value or the default |
/// | `set_f(value)` | stores a `T` | same |
/// | `setdefault_f(value)` | returns the stored value; if no value is stored, stores and returns `value` | same |
/// | `update_f(op)` | calls `op` with a `&mut Option<T>` to change; loses no concurrent change | same, with a `&mut T` |
/// | `with_f(look)` | calls `look` with an `Option<&T>`, without cloning the value | same, with a `&T` |
/// | `has_f()` | returns whether a value is stored | same |
/// | `delete_f()` | deletes the stored value and returns it as an `Option<T>` | same |
///
/// The getter `f()` has the doc comment of the field. `set_f` and `setdefault_f` take `impl Into<String>` if `T` is
/// `String`, and a `T` otherwise. `update_f` and `with_f` return the result of their closure.
///
/// If another request has changed the field since this request loaded the session, a clone of `op` runs again on the
/// newer value when the session is saved. So `op` must be `Clone + Send + 'static`, and cannot borrow from the request.
/// Clone the data that `op` uses, and `move` the clone into `op`.
///
/// The derive recognizes `Option` and `String` by their names or their paths in std, but not through a type alias. A
/// field `r#type` has the accessors `r#type()`, `set_type()` and so on, and is stored as `type`.
///
/// # Attributes of a field
///
/// | `#[session(…)]` | meaning |
/// |---|---|
/// | `default` | the default is `Default::default()`, the same as without this attribute |
/// | `default = expr` | the default is `expr`, evaluated at each read that finds no stored value; a string literal is converted with `into()` |
/// | `rename = "…"` | the field is stored under this name. _Default:_ the name of the field |
/// | `alias = "…"` | the field is read from this former name if nothing is stored under its own name; may be repeated |
/// | `with = "module"` | `module::serialize` encodes the field and `module::deserialize` decodes it, as with serde's `with` |
/// | `skip` | the field is not stored and has no accessors |
/// | `identity` | the field is the id of the logged-in user, an `Option<T>` with `T: Display`; setting it gives the session a new id |
/// | `extra` | the field, a `serde_json::Map<String, serde_json::Value>`, contains all stored keys that no field declares |
///
/// The type of a field with `with` does not have to implement `Serialize` or `Deserialize`. For an `Option<T>`, the
/// module encodes and decodes the `T`, because `None` is not stored.
///
/// In each `Student` that the library creates (`&Student`, `get()`, `update`), a skipped field has its default. If you
/// set a skipped field in `replace` or `update`, the value is lost. The type of a skipped field must be
/// `Send + Sync + 'static`. Without `default = expr`, the type must also implement `Default`.
///
/// `#[serde(…)]` has no effect on a session, so on a field it is an error. On the struct, `#[serde(…)]` is allowed,
/// because the struct may also derive serde's traits. If serde's derives need attributes on fields, write a second
/// struct for them.
///
/// # Attributes of the struct
///
/// | `#[session(…)]` | meaning |
/// |---|---|
/// | `config = "…"` | the name of the configuration table. _Default:_ `"session"` |
/// | `scope = "…"` | the [scope](#scope) of these sessions in the store. _Default:_ the names of the package and the struct, such as `"school::Student"` |
/// | `fields = "…"` | the name of the generated struct. _Default:_ the name of the struct followed by `Fields` |
/// | `crate = path` | the path of `session_rocket`, if the crate is renamed or re-exported. _Default:_ `::session_rocket` |
///
/// # Scope
///
/// Session types with different scopes never share a session, even in one database. The default scope consists of the
/// names of the Cargo package and the struct. So **renaming the package or the struct ends all sessions of that type**,
/// and every user has to log in again. To keep the sessions, set the scope to the former names:
///
/// ```text
/// /// Formerly `Student` in the package `school`.
/// #[derive(Session)]
/// #[session(scope = "school::Student")]
/// struct Pupil { … }
/// ```
///
/// If two structs in different modules of one package have the same name, and a site attaches the fairings of both, one
/// of them needs a `scope`. If a site has several session types, each type after the first needs its own `config`, and
/// its own `cookie_name` in that configuration table. Structs in different packages share their sessions if they have
/// the same `scope`. A build without Cargo needs a `scope`, because the default scope reads the environment variable
/// `CARGO_PKG_NAME`.
///
/// # Errors
///
/// The following are errors. The message says what to write instead.
///
/// - a tuple struct, an enum, a union, or a struct with lifetimes or generic parameters
/// - a reference in the type of a field
/// - `Option<Option<_>>`, or a `default` on an `Option`
/// - two fields with the same accessor or the same stored name
/// - a stored name that starts with `_`
/// - a field with an accessor that a method of `Session` hides, such as a field `id` or `expiry`
#[proc_macro_derive(Session, attributes(session))]
pub fn derive_session(input: TokenStream) -> TokenStream {
    expand::derive(input.into()).into()
}
