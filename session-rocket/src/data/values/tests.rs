//! Valid and damaged payloads of arbitrary values, in both formats.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Map, json};

use super::*;
use crate::SessionData;
use crate::base::clock::Timestamp;
use crate::base::expiry::Expiry;
use crate::data::auth::AuthMac;
use crate::data::csrf::CsrfSecret;
use crate::data::field::{Defaulted, Field, Optional};
use crate::tests::fixture::{COUNT, NAME, TAGS, Visitor};

#[cfg(feature = "messagepack")]
const FORMATS: &[Format] = &[Format::Json, Format::MessagePack];
#[cfg(not(feature = "messagepack"))]
const FORMATS: &[Format] = &[Format::Json];

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "[\\x00-\u{20ac}]{0,9}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::hash_map(".{0,5}", inner, 0..4).prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

fn format() -> impl Strategy<Value = Format> {
    prop::sample::select(FORMATS)
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Default),
        Just(Expiry::BrowserClose),
        any::<u32>().prop_map(|seconds| Expiry::After(std::time::Duration::from_secs(seconds.into()))),
    ]
}

/// Values under declared and undeclared names, and all fields of the library itself.
#[derive(Debug, Clone)]
struct Parts {
    fields: Vec<(String, Json)>,
    expiry: Expiry,
    test_cookie: bool,
    csrf: bool,
}

fn parts() -> impl Strategy<Value = Parts> {
    let name = prop_oneof![Just("name".to_owned()), Just("count".to_owned()), Just("labels".to_owned()), "[^_].{0,6}"];
    (vec((name, json()), 0..6), expiry(), any::<bool>(), any::<bool>())
        .prop_map(|(fields, expiry, test_cookie, csrf)| Parts { fields, expiry, test_cookie, csrf })
}

impl Parts {
    fn values(self) -> Values {
        let mut values = Values::empty(Visitor::schema());
        for (name, json) in self.fields {
            if values.keys().contains(&name) {
                continue;
            }
            let raw = Raw::encode(&json).expect("JSON encodes");
            match values.schema.find(&name, 0) {
                Some((index, under)) => values.store_field(index, under, raw),
                None => values.store_other(name.into(), raw),
            }
        }
        values.set_expiry(self.expiry);
        values.set_test_cookie(self.test_cookie);
        values.set_csrf(self.csrf.then(|| CsrfSecret::random().expect("there are random bytes")));
        values
    }
}

fn load(payload: &Bytes) -> Result<Values, PayloadError> {
    Values::load(Visitor::schema(), payload, None)
}

/// Reads, changes and writes values as a request does.
fn use_all(mut values: Values) {
    for field in [&NAME as &dyn AnyField, &COUNT, &TAGS] {
        values.read(field);
        values.put(field, None);
    }
    for format in FORMATS {
        values.encode().expect("nothing that was read fails to encode");
        let again = load(&values.payload(*format)).expect("what is written can be read");
        again.clone().items();
        assert!(again.payload(*format).len() <= again.size_at_most());
    }
}

proptest! {
    #[test]
    fn a_payload_of_either_format_reads_back(parts in parts(), format in format()) {
        let values = parts.values();
        let payload = values.payload(format);
        prop_assert!(payload.len() <= values.size_at_most(), "{} of {}", payload.len(), values.size_at_most());
        let again = load(&payload).unwrap();
        prop_assert_eq!(again.clone().items(), values.clone().items());
        let settings = |values: &Values| (values.lifetime(), values.test_cookie(), values.csrf().map(CsrfSecret::to_text));
        prop_assert_eq!(settings(&again), settings(&values));
        let same = |(a, b): (&Slot, &Slot)| match (a, b) {
            (Slot::Stored { raw: a, .. }, Slot::Stored { raw: b, .. }) => a == b,
            (a, b) => matches!((a, b), (Slot::Absent, Slot::Absent)),
        };
        prop_assert!(again.slots.iter().zip(values.slots.iter()).all(same));
    }
}

#[test]
fn an_expiry_that_another_release_wrote_gives_way_to_one_that_is_set() {
    let mut values = load(&Bytes::from_static(br#"j{"_expiry":"next week","name":"ada"}"#)).unwrap();
    assert_eq!(values.payload(Format::Json), &br#"j{"name":"ada","_expiry":"next week"}"#[..]);
    values.set_expiry(Expiry::BrowserClose);
    assert_eq!(values.payload(Format::Json), &br#"j{"name":"ada","_expiry":"browser_close"}"#[..]);
}

#[test]
fn the_extra_field_holds_every_undeclared_key_that_json_can_hold() {
    static ADA: Field<String, Optional> = Field::optional(0, "name");
    static REST: Field<Map<String, Json>, Defaulted> = Field::extra(1, "rest");
    static SCHEMA: Schema = Schema::new("Open", &[&ADA, &REST]);
    // In the order in which a save writes the fields.
    let payload = br#"j{"name":"ada","huge":1e999,"_later":1,"rest":7,"theme":"dark"}"#;
    let values = Values::load(&SCHEMA, &Bytes::from_static(payload), None).unwrap();
    assert_eq!(Json::from(values.clone().items()), json!({ "name": "ada", "rest": 7, "theme": "dark" }));
    assert_eq!(values.payload(Format::Json), &payload[..], "what no field shows is kept");
}

#[test]
fn the_keys_of_the_extra_field_are_listed_and_deleted_with_it() {
    static ADA: Field<String, Optional> = Field::optional(0, "name");
    static REST: Field<Map<String, Json>, Defaulted> = Field::extra(1, "rest");
    static SCHEMA: Schema = Schema::new("Open", &[&ADA, &REST]);
    let payload = Bytes::from_static(br#"j{"name":"ada","huge":1e999,"theme":"dark"}"#);
    let mut values = Values::load(&SCHEMA, &payload, None).unwrap();
    assert_eq!(values.keys(), ["name", "theme", "huge"]);
    let set: Map<String, Json> = [("colour".to_owned(), json!("red"))].into_iter().collect();
    values.put(&REST, Some(REST.wrap(set)));
    assert_eq!(values.keys(), ["name", "colour", "huge"]);
    values.put(&REST, None);
    assert_eq!(values.keys(), ["name"]);
    assert_eq!(values.payload(Format::Json), &br#"j{"name":"ada"}"#[..]);
}

#[test]
fn the_size_of_a_payload_never_exceeds_its_bound() {
    let mut values = load(&Bytes::from_static(br#"j{"name":"ada","more":[1,2,3]}"#)).unwrap();
    values.set_expiry(Expiry::After(Duration::from_secs(1_000_000)));
    values.set_max_lifetime(Some(Duration::MAX));
    values.set_test_cookie(true);
    values.set_csrf(Some(CsrfSecret::random().unwrap()));
    values.set_auth(Some(AuthMac::of("hash").unwrap()));
    values.set_began_at(Timestamp::from_millis(i64::MAX));
    for format in FORMATS {
        let size = values.payload(*format).len();
        assert!(size <= values.size_at_most(), "{size} bytes, bound {}", values.size_at_most());
    }
}

/// The number of mutations to try, which `cargo xtask fuzz 1000000` sets.
fn mutations() -> u64 {
    std::env::var("FUZZ_MUTATIONS").map_or(20_000, |text| text.parse().expect("FUZZ_MUTATIONS is a number"))
}

#[test]
fn fuzz_damaged_payloads() {
    let mut values = Values::empty(Visitor::schema());
    for (name, value) in [("name", json!("rajat")), ("count", json!(7)), ("tags", json!(["a", {"deep": [1.5, null]}]))]
    {
        let (index, under) = values.schema.find(name, 0).unwrap();
        values.store_field(index, under, Raw::encode(&value).unwrap());
    }
    values.store_other("more".into(), Raw::encode(&json!({"x": -1})).unwrap());
    values.set_expiry(Expiry::BrowserClose);
    let payloads: Vec<Bytes> = FORMATS.iter().map(|format| values.payload(*format)).collect();
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[3; 32]);
    let mut up_to = |end: usize| usize::try_from(rng.next_u64()).unwrap_or(0) % end.max(1);
    let mut read = 0;
    for _ in 0..mutations() {
        let mut payload = payloads[up_to(payloads.len())].to_vec();
        for _ in 0..=up_to(2) {
            let place = up_to(payload.len());
            match up_to(4) {
                0 => payload.truncate(place),
                1 => payload.insert(place, payload.get(up_to(payload.len())).copied().unwrap_or(0)),
                2 if !payload.is_empty() => _ = payload.remove(place),
                _ if !payload.is_empty() => payload[place] ^= 1 << up_to(8),
                _ => {}
            }
        }
        if let Ok(values) = load(&payload.into()) {
            read += 1;
            use_all(values);
        }
    }
    assert!(read > mutations() / 20, "{read} of them were read");
}
