//! One field of a session type: its names, its default, and how its values are encoded.

mod encoding;

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::data::codec::Raw;
use crate::data::faithful::Unencodable;

pub use self::encoding::Encoding;
use self::encoding::{ByType, Encoded};

/// A decoded value of a field. Behind an `Arc`, so that user code reads it without a lock.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

/// The bounds of a field's type, required in this place alone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a session field",
    note = "a session field is stored and shared: its type needs `#[derive(serde::Serialize, serde::Deserialize, Clone)]`, \
            and has to be `Send + Sync + 'static`"
)]
pub trait FieldValue: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> FieldValue for T {}

/// The bounds of a user's id.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an `identity`: it does not implement `Display`",
    note = "a user's sessions are found by the text of the identity: use an integer, a `String` or an id type that implements `Display`"
)]
pub trait Identity: ToString {}

impl<T: std::fmt::Display> Identity for T {}

/// The one type that holds undeclared keys.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold the undeclared keys of a session",
    note = "declare the `extra` field as `serde_json::Map<String, serde_json::Value>`"
)]
pub trait ExtraKeys {}

impl ExtraKeys for Map<String, Json> {}

/// Marks a field declared as `Option<V>`.
pub struct Optional;

/// Marks a field declared as `V`, which reads as its default when nothing is stored.
pub struct Defaulted;

/// What the derive knows of a field.
pub struct Spec {
    /// Its index in the struct.
    pub index: usize,
    /// Its name in Rust.
    pub name: &'static str,
    /// Its name in the store.
    pub stored: &'static str,
    /// Further stored names it is read from.
    pub aliases: &'static [&'static str],
    /// Whether it is the user's id.
    pub identity: bool,
    /// Whether it holds all stored keys that are not declared.
    pub extra: bool,
    /// Whether it was logged that a stored value did not decode.
    undecodable: AtomicBool,
    /// Whether it was logged that a value was read, set, and meanwhile changed by another request.
    overwritten: AtomicBool,
}

impl Spec {
    /// True the first time only.
    pub(crate) fn first_undecodable(&self) -> bool {
        !self.undecodable.swap(true, Ordering::Relaxed)
    }

    /// True the first time only.
    pub(crate) fn first_overwritten(&self) -> bool {
        !self.overwritten.swap(true, Ordering::Relaxed)
    }
}

/// A field of any type.
pub trait AnyField: Send + Sync + 'static {
    /// What the derive knows of it.
    fn spec(&self) -> &Spec;
    /// Decodes a stored value.
    #[doc(hidden)]
    fn decode(&self, raw: &Raw) -> Option<Value>;
    /// Encodes a value, to be shown or compared.
    ///
    /// # Errors
    /// When the value would not read back as it was.
    #[doc(hidden)]
    fn encode(&self, value: &Value) -> Result<Raw, Unencodable>;
    /// Encodes a value that is to be read again.
    ///
    /// # Errors
    /// When the value would not read back as it was.
    #[doc(hidden)]
    fn encode_to_keep(&self, value: &Value) -> Result<Raw, Unencodable>;
    /// What the field reads as when nothing is stored; `None` for an `Option`.
    #[doc(hidden)]
    fn default(&self) -> Option<Value>;
    /// The user's id as a string, for an identity field.
    #[doc(hidden)]
    fn identity(&self, value: &Value) -> Option<String>;
}

/// A field of type `V`; `K` says whether it is declared as `Option<V>` ([`Optional`]) or `V` ([`Defaulted`]).
///
/// It holds no session's data: accessors take the session's state.
pub struct Field<V, K> {
    spec: Spec,
    ops: Ops<V>,
    default: Option<fn() -> V>,
    kind: PhantomData<fn() -> K>,
}

/// What a field does with values of its type. So the bounds are required where the field is made, and not on every
/// accessor.
struct Ops<V> {
    wrap: fn(V) -> Value,
    peek: fn(&Value) -> &V,
    clone: fn(&V) -> V,
    decode: fn(&Raw) -> Option<Value>,
    encode: fn(&V) -> Result<Raw, Unencodable>,
    encode_to_keep: fn(&V) -> Result<Raw, Unencodable>,
    identity: Option<fn(&V) -> String>,
}

impl<V: Clone + Send + Sync + 'static> Ops<V> {
    const fn of<E: Encoding<V>>() -> Self {
        Self {
            wrap: |value| Arc::new(value),
            peek: |value| {
                value.downcast_ref().expect("a slot holds values of its own field only: both come from one index")
            },
            clone: V::clone,
            decode: |raw| raw.decode::<Encoded<V, V, E>>().map(|value| Arc::new(value.into_inner()) as Value),
            encode: |value| Raw::encode(&Encoded::<&V, V, E>::new(value)),
            encode_to_keep: |value| Raw::encode_to_keep::<Encoded<V, V, E>>(&Encoded::<&V, V, E>::new(value)),
            identity: None,
        }
    }
}

impl<V, K> Field<V, K> {
    const fn new<E: Encoding<V>>(index: usize, name: &'static str, default: Option<fn() -> V>) -> Self
    where
        V: Clone + Send + Sync + 'static,
    {
        let spec = Spec {
            index,
            name,
            stored: name,
            aliases: &[],
            identity: false,
            extra: false,
            undecodable: AtomicBool::new(false),
            overwritten: AtomicBool::new(false),
        };
        Self { spec, ops: Ops::of::<E>(), default, kind: PhantomData }
    }

    /// The same field, stored under another name.
    #[must_use]
    pub const fn rename(mut self, stored: &'static str) -> Self {
        self.spec.stored = stored;
        self
    }

    /// The same field, also read from other stored names.
    #[must_use]
    pub const fn alias(mut self, names: &'static [&'static str]) -> Self {
        self.spec.aliases = names;
        self
    }
}

impl<V> Field<V, Optional> {
    /// A field declared as `Option<V>`.
    pub const fn optional(index: usize, name: &'static str) -> Self
    where
        V: FieldValue,
    {
        Self::new::<ByType>(index, name, None)
    }

    /// The same, encoded by `E`.
    pub const fn optional_with<E: Encoding<V>>(index: usize, name: &'static str) -> Self
    where
        V: Clone + Send + Sync + 'static,
    {
        Self::new::<E>(index, name, None)
    }

    /// The same field, as the user's id.
    #[must_use]
    pub const fn identity(mut self) -> Self
    where
        V: Identity,
    {
        self.spec.identity = true;
        self.ops.identity = Some(V::to_string);
        self
    }
}

impl<V> Field<V, Defaulted> {
    /// A field declared as `V`.
    pub const fn defaulted(index: usize, name: &'static str, default: fn() -> V) -> Self
    where
        V: FieldValue,
    {
        Self::new::<ByType>(index, name, Some(default))
    }

    /// The same, encoded by `E`.
    pub const fn defaulted_with<E: Encoding<V>>(index: usize, name: &'static str, default: fn() -> V) -> Self
    where
        V: Clone + Send + Sync + 'static,
    {
        Self::new::<E>(index, name, Some(default))
    }

    /// The field that holds all stored keys that are not declared.
    pub const fn extra(index: usize, name: &'static str) -> Self
    where
        V: ExtraKeys + Default + FieldValue,
    {
        let mut field = Self::new::<ByType>(index, name, Some(V::default as fn() -> V));
        field.spec.extra = true;
        field
    }
}

impl<V: 'static, K: 'static> AnyField for Field<V, K> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn decode(&self, raw: &Raw) -> Option<Value> {
        (self.ops.decode)(raw)
    }

    fn encode(&self, value: &Value) -> Result<Raw, Unencodable> {
        (self.ops.encode)(self.peek(value))
    }

    fn encode_to_keep(&self, value: &Value) -> Result<Raw, Unencodable> {
        (self.ops.encode_to_keep)(self.peek(value))
    }

    fn default(&self) -> Option<Value> {
        self.default.map(|default| self.wrap(default()))
    }

    fn identity(&self, value: &Value) -> Option<String> {
        self.ops.identity.map(|identity| identity(self.peek(value)))
    }
}

impl<V: 'static, K: 'static> Field<V, K> {
    /// A decoded value as it is kept in a session.
    pub(crate) fn wrap(&self, value: V) -> Value {
        (self.ops.wrap)(value)
    }

    /// The value of this field inside `value`.
    pub(crate) fn peek<'v>(&self, value: &'v Value) -> &'v V {
        (self.ops.peek)(value)
    }

    /// A copy of the value inside `value`.
    pub(crate) fn owned(&self, value: &Value) -> V {
        (self.ops.clone)(self.peek(value))
    }
}

impl<V: 'static> Field<V, Defaulted> {
    pub(crate) fn default_value(&self) -> V {
        let default = self.default.expect("every constructor of a defaulted field takes its default");
        default()
    }
}
