//! The derive macro of `session-rocket`. Depend on `session-rocket`, which re-exports it, and not on this crate.
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
/// The accessors are methods of a generated struct, `StudentFields`, to which `Session<Student>` dereferences. They
/// take `&self` and have the visibility of the field. The getter also has the doc comment of the field. A field `f` has
/// these accessors:
///
/// | | `f: Option<T>` | `f: T` |
/// |---|---|---|
/// | `f()` | returns the stored value or `None` | returns the stored value or the default |
/// | `set_f(value)` | stores a `T` | same |
/// | `setdefault_f(value)` | returns the stored value; if there is none, stores `value` and returns it | same |
/// | `update_f(op)` | changes a `&mut Option<T>` without losing a concurrent change | changes a `&mut T` in the same way |
/// | `with_f(look)` | calls `look` with an `Option<&T>`, without cloning the value | calls `look` with a `&T` |
/// | `has_f()` | returns whether a value is stored | same |
/// | `delete_f()` | deletes the stored value and returns it as an `Option<T>` | same |
///
/// `set_f` and `setdefault_f` take `impl Into<String>` if `T` is `String`, and a `T` otherwise.
///
/// If another request changed the field meanwhile, `update_f` runs a clone of its closure again, on the newer value. So
/// the closure must be `Clone + Send + 'static`, and cannot borrow from the request. Clone the data that it uses, and
/// `move` the clone into it.
///
/// The derive recognizes `Option` and `String` by name or by path in std, but not through a type alias. A field
/// `r#type` has the accessors `r#type()`, `set_type()` and so on, and is stored as `type`.
///
/// # Attributes of a field
///
/// | `#[session(…)]` | meaning |
/// |---|---|
/// | `default` | the default is `Default::default()`, as without the attribute |
/// | `default = expr` | the default is `expr`, evaluated at each read that finds no stored value; a string literal is converted with `into()` |
/// | `rename = "…"` | the name that the field is stored under. _Default:_ the name of the field |
/// | `alias = "…"` | another stored name that the field is read from; may be repeated |
/// | `with = "module"` | `module::serialize` encodes the field and `module::deserialize` decodes it, as with serde's `with` |
/// | `skip` | the field is not stored and has no accessors |
/// | `identity` | the field is the id of the logged-in user, an `Option<T>` with `T: Display`; setting it gives the session a new id |
/// | `extra` | the field is a `serde_json::Map<String, serde_json::Value>` of all stored keys that no field declares |
///
/// The type of a field with `with` does not have to implement `Serialize` or `Deserialize`. For an `Option<T>`, the
/// module encodes the `T`, because `None` is not stored.
///
/// A skipped field has its default in each snapshot (`&Student`, `get()`, `update`). A value that `replace` or `update`
/// puts into the field is lost. The type of the field must be `Send + Sync + 'static`, and must implement `Default`
/// unless the field has `default = expr`.
///
/// `#[serde(…)]` has no effect on a session, so the derive refuses it on a field. On the struct, it is allowed for
/// serde's own derives. If those derives need attributes on fields, write a second struct for them.
///
/// # Attributes of the struct
///
/// | `#[session(…)]` | meaning |
/// |---|---|
/// | `config = "…"` | the name of the configuration table. _Default:_ `"session"` |
/// | `scope = "…"` | the scope of these sessions in the store. _Default:_ the names of the package and the struct, such as `"school::Student"` |
/// | `fields = "…"` | the name of the generated struct. _Default:_ the name of the struct followed by `Fields` |
/// | `crate = path` | the path of `session_rocket`, if the crate is renamed or re-exported. _Default:_ `::session_rocket` |
///
/// # Scope
///
/// Session types with different scopes never share a session, even if several sites use one database. The default scope
/// consists of the names of the Cargo package and the struct. So **renaming the package or the struct ends all sessions
/// of that type**, and every user has to log in again. To keep the sessions, set the scope to the former names:
///
/// ```text
/// /// Formerly `Student` in the package `school`.
/// #[derive(Session)]
/// #[session(scope = "school::Student")]
/// struct Pupil { … }
/// ```
///
/// If a site attaches the fairings of two structs that have the same name and are in one package, one struct needs a
/// `scope`. Each further session type of a site also needs its own `config` and `cookie_name`. Structs in different
/// packages share their sessions if they have the same `scope`. A build without Cargo needs a `scope`, because the
/// default reads `CARGO_PKG_NAME`.
///
/// # Errors
///
/// The derive refuses the following, with a message that says what to write instead:
///
/// - tuple structs, enums, unions, lifetimes and generic parameters
/// - references
/// - `Option<Option<_>>`, and a `default` on an `Option`
/// - two fields with the same accessor or the same stored name
/// - stored names that start with `_`
/// - fields with an accessor that a method of `Session` hides, such as `id` or `expiry`
#[proc_macro_derive(Session, attributes(session))]
pub fn derive_session(input: TokenStream) -> TokenStream {
    expand::derive(input.into()).into()
}
