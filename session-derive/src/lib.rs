//! The derive macro of `session-rocket`. Depend on that crate, which re-exports it, and not on this one.
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

/// Makes a plain struct the type of a session, with typed accessors for each of its fields.
///
/// ```text
/// use session_rocket::Session;
///
/// /// What the school site remembers about a visitor.
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
/// A field's type needs `Serialize + DeserializeOwned + Clone + Send + Sync + 'static`; the struct itself needs no other
/// derive and is left as it is.
///
/// # Accessors
///
/// They are methods of a generated struct, `StudentFields`, to which `Session<Student>` dereferences. All take `&self`
/// and have the field's visibility; the getter has its doc comment. For a field `f` there are:
///
/// | | `f: Option<T>` | `f: T` |
/// |---|---|---|
/// | `f()` | the stored value or `None` | the stored value or the default |
/// | `set_f(value)` | stores a `T` | same |
/// | `setdefault_f(value)` | the stored value; if there is none, stores `value` and returns it | same |
/// | `update_f(op)` | changes an `&mut Option<T>`; no concurrent change is lost | changes an `&mut T` |
/// | `with_f(look)` | looks at an `Option<&T>` without cloning | looks at an `&T` |
/// | `has_f()` | whether a value is stored | same |
/// | `delete_f()` | deletes the stored value and returns it, an `Option<T>` | same |
///
/// `set_f` and `setdefault_f` take `impl Into<String>` where `T` is `String`, and the plain `T` otherwise.
///
/// The closure of `update_f` may run again, as a clone, on a fresher value, so it is `Clone + Send + 'static` and cannot
/// borrow from the request: clone what it needs, and `move` the clone into it.
///
/// `Option` and `String` are known by their names and paths in std; an alias of either is a plain type. A raw identifier
/// is raw in the getter only: `r#type` has `r#type()` and `set_type()`, and is stored as `type`.
///
/// # Attributes of a field
///
/// | `#[session(…)]` | |
/// |---|---|
/// | `default` | without a stored value the field reads as `Default::default()`; this is also the case without the attribute |
/// | `default = expr` | without a stored value it reads as `expr`, which is evaluated at each read; a string literal is converted with `into()` |
/// | `rename = "…"` | the name it is stored under. _Default:_ the field's name |
/// | `alias = "…"` | a further name it is read from; may be repeated |
/// | `with = "module"` | the field is encoded by `module::serialize` and decoded by `module::deserialize`, as with serde's `with` |
/// | `skip` | the field is not stored and has no accessors; in a snapshot it has its default |
/// | `identity` | this is the logged-in user's id: an `Option<T>` where `T: Display`. Setting it cycles the session id |
/// | `extra` | a `serde_json::Map<String, serde_json::Value>` of all stored keys that no field declares |
///
/// The type of a field with `with` need not implement `Serialize` or `Deserialize`. For an `Option<T>`, the module encodes
/// the `T`, because `None` is not stored.
///
/// A skipped field has its default, or `default = expr`, in each snapshot (`&Student`, `get()`, `update`). A value that
/// `replace` or `update` puts into the field is lost. The field's type needs `Send + Sync + 'static`, and `Default` unless the
/// field has `default = expr`.
///
/// `#[serde(…)]` on a field is refused, because it does not change what a session stores. On the struct it is left to
/// serde's own derives, which the struct may have for another purpose, and changes nothing in the session. If those need
/// attributes on fields, write a second struct for them.
///
/// # Attributes of the struct
///
/// | `#[session(…)]` | |
/// |---|---|
/// | `config = "…"` | the configuration table. _Default:_ `"session"` |
/// | `scope = "…"` | the scope of these sessions in the store. _Default:_ package and struct, as in `"school::Student"` |
/// | `fields = "…"` | the name of the generated struct. _Default:_ the struct's name and `Fields` |
/// | `crate = path` | where `session_rocket` is, if it is renamed or re-exported. _Default:_ `::session_rocket` |
///
/// # Scope
///
/// Two session types with different scopes never share a session, even if they are types of different sites that use one
/// database. The default scope is made of the name of the Cargo package and the name of the struct. So **renaming the
/// package or the struct ends all sessions of that type**: every visitor starts with an empty session, and every user
/// has to log in again. To keep the sessions, pin the scope to the former names:
///
/// ```text
/// /// Was `Student` in the package `school`.
/// #[derive(Session)]
/// #[session(scope = "school::Student")]
/// struct Pupil { … }
/// ```
///
/// If two structs with the same name, in two modules of one package, are both attached, one of them needs a `scope`, beside a
/// `config` and a `cookie_name` of its own. Two structs in two packages that are to share their sessions need the same `scope`.
/// A build without Cargo needs a `scope` too, because the name of the package comes from `CARGO_PKG_NAME`.
///
/// # What is refused
///
/// Tuple structs, enums, unions, lifetimes and parameters; references; `Option<Option<_>>`; a `default` on an `Option`;
/// two fields with an accessor or a stored name in common; stored names that start with `_`; and fields with an accessor
/// that a method of `Session` hides, such as `id` or `expiry`. The compiler says what to write instead.
#[proc_macro_derive(Session, attributes(session))]
pub fn derive_session(input: TokenStream) -> TokenStream {
    expand::derive(input.into()).into()
}
