//! The encoding of the values of a field.

use std::borrow::Borrow;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The encoding of the values of a field.
///
/// Generated code implements it with the functions of the module that `#[session(with = "…")]` names.
pub trait Encoding<V>: 'static {
    /// Encodes a value.
    ///
    /// # Errors
    /// If the format of the serializer cannot represent the value.
    fn serialize<S: Serializer>(value: &V, serializer: S) -> Result<S::Ok, S::Error>;

    /// Decodes a value.
    ///
    /// # Errors
    /// If the stored value does not decode as a `V`.
    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<V, D::Error>;
}

/// The encoding of a field without `with`: the serde implementation of its type.
pub(super) struct ByType;

impl<V: Serialize + DeserializeOwned> Encoding<V> for ByType {
    fn serialize<S: Serializer>(value: &V, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<V, D::Error> {
        V::deserialize(deserializer)
    }
}

/// A value of type `V` that serde encodes with `E`. `B` is `V` or `&V`.
pub(super) struct Encoded<B, V, E>(B, PhantomData<(V, E)>);

impl<B, V, E> Encoded<B, V, E> {
    pub(super) fn new(value: B) -> Self {
        Self(value, PhantomData)
    }

    pub(super) fn into_inner(self) -> B {
        self.0
    }
}

impl<B: Borrow<V>, V, E: Encoding<V>> Serialize for Encoded<B, V, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        E::serialize(self.0.borrow(), serializer)
    }
}

impl<'de, T, E: Encoding<T>> Deserialize<'de> for Encoded<T, T, E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        E::deserialize(deserializer).map(Self::new)
    }
}
