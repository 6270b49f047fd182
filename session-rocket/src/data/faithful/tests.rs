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
            (".*", prop::option::of(inner.prop_map(Box::new))).prop_map(|(name, inner)| Tree::Named { name, inner }),
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
