//! Refuses values that `serde_json` writes but does not read back.
//!
//! `serde_json` writes NaN, the infinities and `Some(None)` as `null`, and it does not read values that are nested deeper
//! than 127 levels. Without this check, such a value would be saved without an error, and would be missing in the next
//! request. The check is a serializer that writes nothing and runs before the encoding.

use std::fmt;

use serde::ser::{self, Serialize, Serializer};

/// The maximum depth of a value: the 127 levels that `serde_json` reads, less a margin for the payload around the value.
const MAX_DEPTH: u8 = 120;

/// The reason why a value was not encoded. The message never contains the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unencodable {
    /// The value contains a float that is NaN or infinite.
    NotFinite,
    /// The value contains a `Some` whose content is written as `null`.
    NullInSome,
    /// The value has more than [`MAX_DEPTH`] levels of nesting.
    TooDeep,
    /// The `Serialize` implementation of the value failed.
    Refused,
    /// JSON cannot represent a map key of the value.
    NotJson,
    /// The value's type cannot decode the encoded value.
    NotReadBack,
}

impl fmt::Display for Unencodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFinite => "a float in it is NaN or infinite, which JSON cannot represent",
            Self::NullInSome => {
                "a `Some` in it encodes as null, such as `Some(None)` or `Some(())`, and would read back as `None`"
            }
            Self::TooDeep => "it is nested too deeply: at most 120 levels are allowed",
            Self::Refused => "its `Serialize` implementation returned an error",
            Self::NotJson => "JSON cannot represent it: the keys of a map must be strings, numbers or booleans",
            Self::NotReadBack => {
                "its `Deserialize` implementation does not read back what its `Serialize` implementation writes"
            }
        })
    }
}

impl std::error::Error for Unencodable {}

impl ser::Error for Unencodable {
    /// Drops the application's message, because it may contain the value.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Refused
    }
}

/// Refuses a value that `serde_json` would write but not read back.
///
/// Does not check the types of map keys, because `serde_json` refuses keys that JSON cannot represent.
pub(crate) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), Unencodable> {
    value.serialize(Checker { depth: 0 }).map(drop)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Null,
    Other,
}

#[derive(Clone, Copy)]
struct Checker {
    depth: u8,
}

impl Checker {
    fn deeper(self) -> Result<Self, Unencodable> {
        if self.depth == MAX_DEPTH { Err(Unencodable::TooDeep) } else { Ok(Self { depth: self.depth + 1 }) }
    }
}

macro_rules! written_as_is {
    ($($method:ident($type:ty)),* $(,)?) => {
        $(fn $method(self, _: $type) -> Result<Shape, Unencodable> {
            Ok(Shape::Other)
        })*
    };
}

macro_rules! written_if_finite {
    ($($method:ident($type:ty)),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<Shape, Unencodable> {
            if value.is_finite() { Ok(Shape::Other) } else { Err(Unencodable::NotFinite) }
        })*
    };
}

impl Serializer for Checker {
    type Ok = Shape;
    type Error = Unencodable;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    written_as_is! {
        serialize_bool(bool), serialize_char(char), serialize_str(&str), serialize_bytes(&[u8]),
        serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64),
        serialize_i128(i128), serialize_u128(u128),
    }
    written_if_finite! { serialize_f32(f32), serialize_f64(f64) }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<Shape, Unencodable> {
        Ok(Shape::Other)
    }

    fn serialize_none(self) -> Result<Shape, Unencodable> {
        Ok(Shape::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Shape, Unencodable> {
        match value.serialize(self)? {
            Shape::Null => Err(Unencodable::NullInSome),
            Shape::Other => Ok(Shape::Other),
        }
    }

    fn serialize_unit(self) -> Result<Shape, Unencodable> {
        Ok(Shape::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Shape, Unencodable> {
        Ok(Shape::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Shape, Unencodable> {
        Ok(Shape::Other)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Shape, Unencodable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Shape, Unencodable> {
        value.serialize(self.deeper()?).map(|_| Shape::Other)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Unencodable> {
        self.deeper()
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Unencodable> {
        self.deeper()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Unencodable> {
        self.deeper()
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Self, Unencodable> {
        self.deeper()?.deeper()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Unencodable> {
        self.deeper()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unencodable> {
        self.deeper()
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Self, Unencodable> {
        self.deeper()?.deeper()
    }
}

macro_rules! walks {
    ($($trait:ident::$method:ident($($name:ty)?)),* $(,)?) => {
        $(impl ser::$trait for Checker {
            type Ok = Shape;
            type Error = Unencodable;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Result<(), Unencodable> {
                value.serialize(*self).map(drop)
            }

            fn end(self) -> Result<Shape, Unencodable> {
                Ok(Shape::Other)
            }
        })*
    };
}

walks! {
    SerializeSeq::serialize_element(),
    SerializeTuple::serialize_element(),
    SerializeTupleStruct::serialize_field(),
    SerializeTupleVariant::serialize_field(),
    SerializeStruct::serialize_field(&'static str),
    SerializeStructVariant::serialize_field(&'static str),
}

impl ser::SerializeMap for Checker {
    type Ok = Shape;
    type Error = Unencodable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unencodable> {
        key.serialize(*self).map(drop)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unencodable> {
        value.serialize(*self).map(drop)
    }

    fn end(self) -> Result<Shape, Unencodable> {
        Ok(Shape::Other)
    }
}

#[cfg(test)]
mod tests;
