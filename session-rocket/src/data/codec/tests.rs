use super::*;

/// Splits a payload into its fields.
fn split(payload: &Bytes) -> Result<Vec<(String, Raw)>, PayloadError> {
    let mut fields = Vec::new();
    super::split(payload, |name, raw| fields.push((name.into_owned(), raw)))?;
    Ok(fields)
}

fn json(text: &str) -> Raw {
    Raw(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn a_payload_reads_back_in_order_and_raw() {
    let fields = [("a", Raw::encode(&1.5).unwrap()), ("b\"\n", Raw::encode("x").unwrap())];
    let payload = join(fields.iter().map(|(name, raw)| (*name, raw)), Format::Json);
    assert_eq!(&payload[..], br#"j{"a":1.5,"b\"\n":"x"}"#);
    let read = split(&payload).unwrap();
    assert_eq!(read.len(), 2);
    for ((name, raw), (was_name, was_raw)) in read.iter().zip(&fields) {
        assert_eq!(name, was_name);
        assert!(raw == was_raw);
    }
    assert_eq!(split(&join(std::iter::empty(), Format::Json)).unwrap().len(), 0);
}

#[cfg(feature = "messagepack")]
#[test]
fn the_bytes_of_messagepack_are_fixed() {
    let (seven, text) = (Raw::encode(&7).unwrap(), Raw::encode("x").unwrap());
    let payload = join([("count", &seven), ("a", &text)].into_iter(), Format::MessagePack);
    assert_eq!(&payload[..], b"m\x82\xa5count\x07\xa1a\xa1x");
    for corrupt in ["m", "m\u{7f}", "m\u{0}", "mx"] {
        assert_eq!(split(&Bytes::from(corrupt)).err(), Some(PayloadError::Corrupt), "{corrupt:?}");
    }
    for corrupt in [
        b"m\x81".as_slice(),
        b"m\x81\xa1a",
        b"m\x81\x01\x01",
        b"m\x80\x80",
        b"m\x90",
        // Not UTF-8, not JSON, not a finite number.
        b"m\x81\xa1a\xa1\xff",
        b"m\x81\xa1a\xc4\x01x",
        b"m\x81\xa1a\xca\x7f\xc0\0\0",
        b"m\x81\xa1a\x01\x01",
        // A list that claims four billion values, and 100,000 nested lists.
        b"m\x81\xa1a\xdd\xff\xff\xff\xff",
        &[b"m\x81\xa1a".as_slice(), &vec![0x91; 100_000], &[1]].concat(),
        b"m\xdf\xff\xff\xff\xff",
    ] {
        let payload = Bytes::copy_from_slice(corrupt);
        assert_eq!(split(&payload).err(), Some(PayloadError::Corrupt), "{} bytes", corrupt.len());
    }
}

#[test]
fn damaged_payloads_and_unknown_formats_are_different_errors() {
    for corrupt in ["", "j", "j[]", "j{", "j{}x", "j{\"a\":}", "jnull", "j{\"a\":\u{0}1}"] {
        assert_eq!(split(&Bytes::from(corrupt)).err(), Some(PayloadError::Corrupt), "{corrupt:?}");
    }
    for unknown in ["z", "z\u{1}", "a{}"] {
        assert_eq!(split(&Bytes::from(unknown)).err(), Some(PayloadError::UnknownFormat), "{unknown:?}");
    }
    for foreign in ["{}", "\0", "J{}", "\u{80}", "1", " j{}"] {
        assert_eq!(split(&Bytes::from(foreign)).err(), Some(PayloadError::Corrupt), "{foreign:?}");
    }
    assert_eq!(split(&Bytes::from_static(b"j{\"\xff\":1}")).err(), Some(PayloadError::Corrupt));
}

/// A type that serde reads through a buffer that cannot hold a 128-bit integer.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u128),
    Text(String),
    Named { number: u128 },
}

#[test]
fn a_value_that_its_own_type_does_not_decode_is_refused() {
    for (value, comes_back) in [
        (Untagged::Number(5), false),
        (Untagged::Number(u128::MAX), false),
        (Untagged::Text("5".into()), true),
        (Untagged::Named { number: 5 }, false),
    ] {
        let raw = Raw::encode_faithfully::<Untagged>(&value).ok();
        assert_eq!(raw.is_some(), comes_back, "{value:?}");
        assert!(raw.is_none_or(|raw| raw.decode() == Some(value.clone())), "{value:?}");
    }
    assert!(Raw::encode_faithfully::<u128>(&u128::MAX).is_ok());
}

#[cfg(feature = "messagepack")]
#[test]
fn a_change_of_format_changes_no_value() {
    let deepest = "[".repeat(120) + &"]".repeat(120);
    let floats = format!("[{}0.5]", "0.5,".repeat(100));
    for text in [
        r#"{"a":null,"b":[true,false,{}],"a":[[],[0]],"1":"twice"}"#,
        r#"["","\ud83d\ude80 \"\n","🚀\n","\ud800","a\/b"]"#,
        "[0,127,128,255,256,65536,4294967296,18446744073709551615,18446744073709551616]",
        "[-0,-1,-33,-129,-32769,-2147483649,-9223372036854775808,-9223372036854775809]",
        "[340282366920938463463374607431768211455,-170141183460469231731687303715884105728]",
        "[0.0,-0.0,0.1,1e0,1E2,1e999,1.50,0.30000000000000004,5e-324,1.7976931348623157e308,3.4028235e38]",
        &deepest,
        &floats,
    ] {
        let payload = join(std::iter::once(("field", &json(text))), Format::MessagePack);
        let read = split(&payload).unwrap();
        assert!(read.len() == 1 && read[0].0 == "field" && read[0].1 == json(text), "{text}");
        assert!(payload.len() <= 1 + 5 + size_at_most("field", &json(text)), "{text}");
    }
}

/// A raw JSON value can be nested to any depth.
#[test]
fn a_deeply_nested_value_survives_every_format_without_a_stack_overflow() {
    let [deep, other] = ["0", "1"].map(|inner| json(&("[".repeat(100_000) + inner + &"]".repeat(100_000))));
    assert!(deep.is_equivalent_to(&deep) && !deep.is_equivalent_to(&other));
    #[cfg(feature = "messagepack")]
    {
        let payload = join(std::iter::once(("field", &deep)), Format::MessagePack);
        assert!(split(&payload).unwrap()[0].1 == deep);
    }
}

#[test]
fn values_are_equal_regardless_of_the_order_of_keys_and_compared_to_the_last_digit() {
    for (one, other, same) in [
        ("[1]", "[1]", true),
        ("{}", "{}", true),
        ("[]", "{}", false),
        (r#"{"a":1,"b":[{"c":2,"d":3}]}"#, r#"{"b":[{"d":3,"c":2}],"a":1}"#, true),
        (r#"{"a":1,"b":2}"#, r#"{"a":1}"#, false),
        (r#"{"a":1}"#, r#"{"b":1}"#, false),
        ("[1,2]", "[2,1]", false),
        ("[1]", "[1,1]", false),
        ("0.0", "-0.0", false),
        ("340282366920938463463374607431768211455", "340282366920938463463374607431768211454", false),
        ("[340282366920938463463374607431768211455]", "[340282366920938463463374607431768211455]", true),
        (r#""1""#, "1", false),
    ] {
        assert_eq!(json(one).is_equivalent_to(&json(other)), same, "{one} {other}");
    }
}

#[test]
fn an_encoding_error_does_not_show_the_value() {
    assert!(Raw::encode(&f64::NAN).is_err());
    let secret = std::collections::HashMap::from([(vec!["hunter2"], 1)]);
    let error = Raw::encode(&secret).err().unwrap().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

/// A type whose `Serialize` implementation fails.
struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("hunter2"))
    }
}

#[test]
fn the_error_says_whether_the_type_or_json_refused_the_value() {
    assert_eq!(Raw::encode(&Refuses).err(), Some(Unencodable::Refused));
    let map = std::collections::HashMap::from([(vec!["key"], 1)]);
    assert_eq!(Raw::encode(&map).err(), Some(Unencodable::NotJson));
}

#[test]
fn the_bound_of_the_size_covers_a_name_that_json_escapes() {
    let (name, value) = ("\u{1}".repeat(100), json("1"));
    assert!(join(std::iter::once((&*name, &value)), Format::Json).len() <= size_at_most(&name, &value));
}
