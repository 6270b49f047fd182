//! A field of a session type: its names, its default, and the encoding of its values.

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

/// A decoded value of a field. The `Arc` lets user code read the value without a lock.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

/// The bounds on the type of a field, in one trait so that the compiler reports a missing bound once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a session field",
    note = "a session field is stored and shared: its type needs `#[derive(serde::Serialize, serde::Deserialize, Clone)]`, \
            and must be `Send + Sync + 'static`"
)]
pub trait FieldValue: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> FieldValue for T {}

/// The bound on the type of the identity field, which holds the user's id.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an `identity`: it does not implement `Display`",
    note = "the library finds a user's sessions by the identity as a string: use an integer, a `String` or an id type \
            that implements `Display`"
)]
pub trait Identity: ToString {}

impl<T: std::fmt::Display> Identity for T {}

/// Implemented only by the type that an `extra` field must have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold the undeclared keys of a session",
    note = "declare the `extra` field as `serde_json::Map<String, serde_json::Value>`"
)]
pub trait ExtraKeys {}

impl ExtraKeys for Map<String, Json> {}

/// Marks a field declared as `Option<V>`.
pub struct Optional;

/// Marks a field declared as `V`, which reads as its default if no value is stored.
pub struct Defaulted;

/// The description of a field.
pub struct Spec {
    /// The index of the field among the stored fields of the struct.
    pub index: usize,
    /// The name of the field in Rust.
    pub name: &'static str,
    /// The name of the field in the store.
    pub stored: &'static str,
    /// Other stored names that the field is read from.
    pub aliases: &'static [&'static str],
    /// Whether the field is the user's id.
    pub identity: bool,
    /// Whether the field holds the stored keys that are neither declared nor reserved.
    pub extra: bool,
    /// Whether the log already has a warning about a stored value that does not decode.
    undecodable: AtomicBool,
    /// Whether the log already has a warning that a set overwrote the change of another request.
    overwritten: AtomicBool,
}

impl Spec {
    /// Returns true only on the first call, so that the warning is logged once.
    pub(crate) fn first_undecodable(&self) -> bool {
        !self.undecodable.swap(true, Ordering::Relaxed)
    }

    /// Returns true only on the first call, so that the warning is logged once.
    pub(crate) fn first_overwritten(&self) -> bool {
        !self.overwritten.swap(true, Ordering::Relaxed)
    }
}

/// A field with an erased value type.
pub trait AnyField: Send + Sync + 'static {
    /// Returns the description of the field.
    fn spec(&self) -> &Spec;
    /// Decodes a stored value. Returns `None` if the value does not decode.
    #[doc(hidden)]
    fn decode(&self, raw: &Raw) -> Option<Value>;
    /// Encodes a value to show or compare it.
    ///
    /// # Errors
    /// [`Unencodable`] if the value cannot be encoded.
    #[doc(hidden)]
    fn encode(&self, value: &Value) -> Result<Raw, Unencodable>;
    /// Encodes a value to store it.
    ///
    /// # Errors
    /// [`Unencodable`] if the value cannot be encoded, or if the encoded value does not decode as the type of the field.
    #[doc(hidden)]
    fn encode_faithfully(&self, value: &Value) -> Result<Raw, Unencodable>;
    /// Returns the default of the field, or `None` if the field is declared as an `Option`.
    #[doc(hidden)]
    fn default(&self) -> Option<Value>;
    /// Returns the user's id as a string, or `None` if this is not the identity field.
    #[doc(hidden)]
    fn identity(&self, value: &Value) -> Option<String>;
}

/// A field of type `V`. `K` says whether it is declared as `Option<V>` ([`Optional`]) or as `V` ([`Defaulted`]).
///
/// A `Field` contains no data of a session.
pub struct Field<V, K> {
    spec: Spec,
    ops: Ops<V>,
    default: Option<fn() -> V>,
    kind: PhantomData<fn() -> K>,
}

/// The operations on values of type `V`. They are function pointers, so that the accessors need no bounds on `V`. Only the
/// constructors of `Field` need the bounds.
struct Ops<V> {
    wrap: fn(V) -> Value,
    peek: fn(&Value) -> &V,
    clone: fn(&V) -> V,
    decode: fn(&Raw) -> Option<Value>,
    encode: fn(&V) -> Result<Raw, Unencodable>,
    encode_faithfully: fn(&V) -> Result<Raw, Unencodable>,
    identity: Option<fn(&V) -> String>,
}

impl<V: Clone + Send + Sync + 'static> Ops<V> {
    const fn of<E: Encoding<V>>() -> Self {
        Self {
            wrap: |value| Arc::new(value),
            peek: |value| {
                value
                    .downcast_ref()
                    .expect("a slot contains only values of its own field, because both are found by the same index")
            },
            clone: V::clone,
            decode: |raw| raw.decode::<Encoded<V, V, E>>().map(|value| Arc::new(value.into_inner()) as Value),
            encode: |value| Raw::encode(&Encoded::<&V, V, E>::new(value)),
            encode_faithfully: |value| Raw::encode_faithfully::<Encoded<V, V, E>>(&Encoded::<&V, V, E>::new(value)),
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

    /// Sets the name that the field is stored under.
    #[must_use]
    pub const fn rename(mut self, stored: &'static str) -> Self {
        self.spec.stored = stored;
        self
    }

    /// Sets other stored names that the field is read from.
    #[must_use]
    pub const fn alias(mut self, names: &'static [&'static str]) -> Self {
        self.spec.aliases = names;
        self
    }
}

impl<V> Field<V, Optional> {
    /// Creates a field declared as `Option<V>`.
    pub const fn optional(index: usize, name: &'static str) -> Self
    where
        V: FieldValue,
    {
        Self::new::<ByType>(index, name, None)
    }

    /// Creates a field declared as `Option<V>` whose values are encoded by `E`.
    pub const fn optional_with<E: Encoding<V>>(index: usize, name: &'static str) -> Self
    where
        V: Clone + Send + Sync + 'static,
    {
        Self::new::<E>(index, name, None)
    }

    /// Marks the field as the user's id.
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
    /// Creates a field declared as `V`.
    pub const fn defaulted(index: usize, name: &'static str, default: fn() -> V) -> Self
    where
        V: FieldValue,
    {
        Self::new::<ByType>(index, name, Some(default))
    }

    /// Creates a field declared as `V` whose values are encoded by `E`.
    pub const fn defaulted_with<E: Encoding<V>>(index: usize, name: &'static str, default: fn() -> V) -> Self
    where
        V: Clone + Send + Sync + 'static,
    {
        Self::new::<E>(index, name, Some(default))
    }

    /// Creates the `extra` field, which holds the stored keys that no field declares.
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

    fn encode_faithfully(&self, value: &Value) -> Result<Raw, Unencodable> {
        (self.ops.encode_faithfully)(self.peek(value))
    }

    fn default(&self) -> Option<Value> {
        self.default.map(|default| self.wrap(default()))
    }

    fn identity(&self, value: &Value) -> Option<String> {
        self.ops.identity.map(|identity| identity(self.peek(value)))
    }
}

impl<V: 'static, K: 'static> Field<V, K> {
    /// Erases the type of a value.
    pub(crate) fn wrap(&self, value: V) -> Value {
        (self.ops.wrap)(value)
    }

    /// Returns a reference to the typed value inside `value`.
    pub(crate) fn peek<'v>(&self, value: &'v Value) -> &'v V {
        (self.ops.peek)(value)
    }

    /// Clones the typed value inside `value`.
    pub(crate) fn owned(&self, value: &Value) -> V {
        (self.ops.clone)(self.peek(value))
    }
}

impl<V: 'static> Field<V, Defaulted> {
    pub(crate) fn default_value(&self) -> V {
        let default = self.default.expect("every constructor of a `Defaulted` field sets the default");
        default()
    }
}
