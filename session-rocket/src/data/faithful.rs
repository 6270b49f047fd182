//! Refuses values that `serde_json` writes but does not read back.
//!
//! `serde_json` writes NaN, the infinities and `Some(None)` as `null`, and it does not read values that are nested
//! deeper than 127 levels. Without this check, such a value would be saved without an error and be missing in the next
//! request. The check is a serializer that writes nothing. It visits the value before the value is encoded.

use std::fmt;

use serde::ser::{self, Serialize, Serializer};

/// The maximum depth of a value. `serde_json` reads 127 levels; the difference is for the payload around the value.
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
    /// JSON cannot represent the value.
    NotJson,
    /// The type of the value does not decode what it encodes.
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
    /// Drops the message, because it is from the application and may contain the value.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Refused
    }
}

/// Checks that `value` reads back unchanged from JSON.
///
/// Map keys that JSON cannot represent are not checked here, because `serde_json` refuses them.
pub(crate) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), Unencodable> {
    value.serialize(Checker { depth: 0 }).map(drop)
}

/// The form in which JSON writes a value.
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
    /// Returns the checker for the content of an array or an object.
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
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    struct Nothing;

    #[derive(Serialize)]
    struct Wrapped<T>(T);

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Number(f64),
        Pair(Option<i8>, f32),
        Named {
            name: String,
            inner: Option<Box<Tree>>,
        },
        #[allow(clippy::option_option, reason = "the subject of the test")]
        Nested(Option<Option<u8>>),
        List(Vec<Tree>),
        Map(BTreeMap<String, Option<f64>>),
    }

    struct Failing;

    impl Serialize for Failing {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(ser::Error::custom("secret"))
        }
    }

    #[test]
    fn floats_that_json_cannot_represent_are_refused_at_any_depth() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(check(&bad), Err(Unencodable::NotFinite));
            assert_eq!(check(&vec![1.0, bad]), Err(Unencodable::NotFinite));
            assert_eq!(check(&(1, Some(bad))), Err(Unencodable::NotFinite));
            assert_eq!(check(&Wrapped(bad)), Err(Unencodable::NotFinite));
            assert_eq!(check(&HashMap::from([("a", bad)])), Err(Unencodable::NotFinite));
            assert_eq!(check(&Tree::Number(bad)), Err(Unencodable::NotFinite));
        }
        assert_eq!(check(&f32::NAN), Err(Unencodable::NotFinite));
        assert_eq!(check(&(f64::MAX, f64::MIN_POSITIVE, -0.0, f32::MIN)), Ok(()));
    }

    #[test]
    fn a_float_key_that_is_not_finite_is_refused() {
        struct Keyed(f64);
        impl Serialize for Keyed {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map([(self.0, 1)])
            }
        }
        assert_eq!(check(&Keyed(f64::NAN)), Err(Unencodable::NotFinite));
        assert_eq!(check(&Keyed(1.5)), Ok(()));
    }

    #[test]
    fn a_some_that_reads_back_as_none_is_refused() {
        assert_eq!(check(&Some(None::<u8>)), Err(Unencodable::NullInSome));
        assert_eq!(check(&Some(())), Err(Unencodable::NullInSome));
        assert_eq!(check(&Some(Nothing)), Err(Unencodable::NullInSome));
        assert_eq!(check(&Some(Wrapped(Nothing))), Err(Unencodable::NullInSome));
        assert_eq!(check(&Some(Box::new(Wrapped(None::<u8>)))), Err(Unencodable::NullInSome));
        assert_eq!(check(&Some(json!(null))), Err(Unencodable::NullInSome));
        assert_eq!(check(&vec![Some(Some(1)), Some(None)]), Err(Unencodable::NullInSome));
        assert_eq!(check(&Some(Tree::Nested(Some(None)))), Err(Unencodable::NullInSome));
    }

    #[test]
    fn null_outside_of_a_some_is_accepted() {
        assert_eq!(check(&None::<u8>), Ok(()));
        assert_eq!(check(&()), Ok(()));
        assert_eq!(check(&Some(vec![None::<u8>])), Ok(()));
        assert_eq!(check(&Some(Tree::Nested(None))), Ok(()));
        assert_eq!(check(&json!({"a": null, "b": [null]})), Ok(()));
    }

    #[test]
    fn an_accepted_value_is_never_too_deep_to_read() {
        let nest = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        let deepest = nest(u32::from(MAX_DEPTH));
        assert_eq!(check(&deepest), Ok(()));
        assert!(reads_back(&deepest));
        assert_eq!(check(&nest(u32::from(MAX_DEPTH) + 1)), Err(Unencodable::TooDeep));
        let trees = (0..=MAX_DEPTH / 2).fold(Tree::Leaf, |inner, _| Tree::List(vec![inner]));
        assert_eq!(check(&trees), Err(Unencodable::TooDeep));
    }

    #[test]
    fn an_error_of_the_application_is_passed_on_without_its_text() {
        let error = check(&vec![Failing]).unwrap_err();
        assert_eq!(error, Unencodable::Refused);
        assert!(!error.to_string().contains("secret"));
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(Tree::Leaf),
            any::<f64>().prop_map(Tree::Number),
            prop_oneof![Just(f64::NAN), Just(f64::INFINITY)].prop_map(Tree::Number),
            any::<(Option<i8>, f32)>().prop_map(|(a, b)| Tree::Pair(a, b)),
            any::<Option<Option<u8>>>().prop_map(Tree::Nested),
            any::<BTreeMap<String, Option<f64>>>().prop_map(Tree::Map),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::List),
                (".*", prop::option::of(inner.prop_map(Box::new)))
                    .prop_map(|(name, inner)| Tree::Named { name, inner }),
            ]
        })
    }

    fn reads_back<T: Serialize + DeserializeOwned + PartialEq>(value: &T) -> bool {
        let text = serde_json::to_string(value).unwrap();
        serde_json::from_str::<T>(&text).is_ok_and(|read| read == *value)
    }

    proptest! {
        #[test]
        fn exactly_the_values_that_read_back_are_accepted(value in tree()) {
            prop_assert_eq!(check(&value).is_ok(), reads_back(&value), "{:?}", value);
        }
    }
}
