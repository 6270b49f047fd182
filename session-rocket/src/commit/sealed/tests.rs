//! Tests the seal with vectors of another implementation, forged cookies and random mutations.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde::Deserialize;

use super::*;
use crate::base::hex;

fn key(byte: u8) -> SecretKey {
    SecretKey::new(vec![byte; 32]).unwrap()
}

fn sealer(kind: Kind, keys: &[u8]) -> Sealer {
    let keys: Vec<SecretKey> = keys.iter().map(|byte| key(*byte)).collect();
    Sealer::new(kind, &keys[0], &keys[1..], "session", "sessionid")
}

fn content(payload: impl Into<Bytes>) -> Content {
    let at = Timestamp::from_millis;
    Content { issued_at: at(3), created_at: at(-2), expires_at: at(i64::MAX), payload: payload.into() }
}

const KINDS: [Kind; 2] = [Kind::Signed, Kind::Encrypted];

/// A line of `vectors.json`, which `vectors.py` generates.
#[derive(Deserialize)]
struct Vector {
    kind: String,
    form: String,
    key: String,
    scope: String,
    cookie_name: String,
    nonce: String,
    issued_at: i64,
    created_at: i64,
    expires_at: i64,
    payload: String,
    cookie: String,
}

#[test]
fn a_payload_is_compressed_even_if_that_saves_little() {
    let seal = |payload: String| sealer(Kind::Signed, &[1]).seal(&content(payload)).unwrap();
    let [word, other] = [(); 2].map(|()| hex::encode(&random_bytes::<200>().unwrap()));
    assert!(seal(word.repeat(2)).len() < seal(word + &other).len());
}

#[test]
fn the_vectors() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("vectors.json")).unwrap();
    assert_eq!(vectors.len(), 8);
    for vector in vectors {
        let kind = if vector.kind == "signed" { Kind::Signed } else { Kind::Encrypted };
        let key = SecretKey::from_text(&vector.key).unwrap();
        let sealer = Sealer::new(kind, &key, &[], &vector.scope, &vector.cookie_name);
        let expected = Content {
            issued_at: Timestamp::from_millis(vector.issued_at),
            created_at: Timestamp::from_millis(vector.created_at),
            expires_at: Timestamp::from_millis(vector.expires_at),
            payload: vector.payload.into(),
        };
        let case = format!("{} {}", vector.kind, vector.form);
        assert_eq!(sealer.open(&vector.cookie), Some((expected.clone(), false)), "{case}");
        // Compressed bytes may differ between implementations, but each must be readable.
        if vector.form == "plain" {
            let mut nonce = [0; NONCE];
            for (place, byte) in nonce.iter_mut().enumerate().take(vector.nonce.len() / 2) {
                *byte = u8::from_str_radix(&vector.nonce[2 * place..2 * place + 2], 16).unwrap();
            }
            assert_eq!(sealer.seal_with(nonce, &expected).unwrap(), vector.cookie, "{case}");
        }
    }
}

#[test]
fn a_cookie_is_of_one_kind_one_scope_one_name_and_one_key() {
    let key = key(1);
    let of = |kind, scope, name| Sealer::new(kind, &key, &[], scope, name);
    let cookie = of(Kind::Signed, "session", "sessionid").seal(&content("j{}")).unwrap();
    let encrypted = of(Kind::Encrypted, "session", "sessionid").seal(&content("j{}")).unwrap();
    for (kind, scope, name) in [
        (Kind::Encrypted, "session", "sessionid"),
        (Kind::Signed, "admin", "sessionid"),
        (Kind::Signed, "session", "flash"),
        // The same letters, split elsewhere.
        (Kind::Signed, "sessions", "essionid"),
    ] {
        assert_eq!(of(kind, scope, name).open(&cookie), None, "{kind:?} {scope} {name}");
    }
    assert_eq!(of(Kind::Signed, "session", "sessionid").open(&encrypted), None);
    assert_eq!(of(Kind::Encrypted, "session", "admin").open(&encrypted), None);
    for kind in KINDS {
        let sealed = sealer(kind, &[1]).seal(&content("j{}")).unwrap();
        assert_eq!(sealer(kind, &[2]).open(&sealed), None);
    }
}

#[test]
fn keys_rotate() {
    for kind in KINDS {
        let (old, both, new) = (sealer(kind, &[1]), sealer(kind, &[2, 1]), sealer(kind, &[2]));
        let cookie = old.seal(&content("j{}")).unwrap();
        let (opened, by_former_key) = both.open(&cookie).unwrap();
        assert!(by_former_key);
        let again = both.seal(&opened).unwrap();
        assert_eq!(both.open(&again).unwrap(), (opened.clone(), false));
        assert_eq!(new.open(&again).unwrap(), (opened, false));
        assert_eq!((new.open(&cookie), old.open(&again)), (None, None));
    }
}

#[test]
fn the_same_session_is_never_encrypted_to_the_same_bytes() {
    let sealer = sealer(Kind::Encrypted, &[1]);
    let one = sealer.seal(&content("j{\"name\":\"ada\"}")).unwrap();
    assert_ne!(one, sealer.seal(&content("j{\"name\":\"ada\"}")).unwrap());
    let bytes = URL_SAFE_NO_PAD.decode(&one).unwrap();
    assert!(!bytes.windows(3).any(|part| part == b"ada"));
}

#[test]
fn payloads_are_compressed_where_that_makes_them_smaller() {
    let mut random = vec![0; 1000];
    TestRng::deterministic_rng(RngAlgorithm::ChaCha).fill_bytes(&mut random);
    for (payload, longest) in [(vec![b'a'; 20_000], 250), (random, 1420), (b"j{}".to_vec(), 90)] {
        let sealer = sealer(Kind::Signed, &[1]);
        let cookie = sealer.seal(&content(payload.clone())).unwrap();
        assert!(cookie.len() < longest, "{} bytes become {}", payload.len(), cookie.len());
        assert_eq!(sealer.open(&cookie).unwrap().0.payload, payload);
    }
}

/// Seals bytes that are not the content of a session.
fn sealed_raw(sealer: &Sealer, body: &[u8]) -> String {
    let keys = &sealer.current;
    let mut bytes = vec![Kind::Signed as u8];
    bytes.extend_from_slice(&keys.id);
    bytes.extend_from_slice(body);
    let tag = keys.mac.clone().chain_update(&bytes).finalize();
    bytes.extend_from_slice(&tag.into_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn an_expansion_is_bounded_before_room_is_made_for_it() {
    let sealer = sealer(Kind::Signed, &[1]);
    let moments = [0; MOMENTS];
    let with = |rest: &[u8]| sealer.open(&sealed_raw(&sealer, &[&moments, rest].concat()));
    assert!(with(&[PLAIN]).is_some());
    assert!(with(&[LZ4, 0, 0, 0, 2, 0x20, b'j', b'{']).is_some());
    for wrong in [
        [LZ4, 0xff, 0xff, 0xff, 0xff, 0x20, b'j', b'{'].as_slice(),
        // More and fewer bytes than the claimed size; no block; no size; an unknown form; nothing.
        &[LZ4, 0, 0, 0, 3, 0x20, b'j', b'{'],
        &[LZ4, 0, 0, 0, 1, 0x20, b'j', b'{'],
        &[LZ4, 0, 0, 0, 2],
        &[LZ4, 0, 0],
        &[7, b'j', b'{'],
        &[],
    ] {
        assert_eq!(with(wrong), None, "{wrong:?}");
    }
    assert_eq!(sealer.open(&sealed_raw(&sealer, &[0; 20])), None);
}

#[test]
fn keys_are_read_as_rocket_reads_its_own() {
    let bytes: Vec<u8> = (0..=255).rev().take(48).collect();
    let hex: String = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let standard = base64::engine::general_purpose::STANDARD.encode(&bytes[..32]);
    let url_safe = URL_SAFE_NO_PAD.encode(&bytes[..32]);
    let of = |bytes: &[u8]| SecretKey::new(bytes.to_vec());
    for (text, key) in [
        (hex.clone(), of(&bytes)),
        (hex.to_uppercase(), of(&bytes)),
        (hex[..64].to_owned(), of(&bytes[..32])),
        (standard.clone(), of(&bytes[..32])),
        (format!(" {}\n", standard.trim_end_matches('=')), of(&bytes[..32])),
        (url_safe, of(&bytes[..32])),
        // An odd number of digits; too short; letters of neither alphabet; words; nothing.
        (hex[..65].to_owned(), None),
        (URL_SAFE_NO_PAD.encode(&bytes[..31]), None),
        ("ä".repeat(40), None),
        ("correct horse battery staple correct horse".to_owned(), None),
        (String::new(), None),
    ] {
        assert!(SecretKey::from_text(&text) == key, "{text:?}");
    }
    for digits in 0..64 {
        assert!(SecretKey::from_text(&hex[..digits]).is_none(), "{digits} digits");
    }
    assert!(key(0).is_zero() && !key(1).is_zero());
    assert_eq!(format!("{:?}", key(1)), "SecretKey(…)");
}

/// A string that an attacker could make from valid cookies by cutting, inserting, changing or splicing.
fn mutated(rng: &mut TestRng, cookies: &[String]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \0\xff";
    let mut up_to = |end: usize| usize::try_from(rng.next_u64()).unwrap_or(0) % end.max(1);
    let mut text = cookies[up_to(cookies.len())].clone().into_bytes();
    for _ in 0..=up_to(3) {
        let place = up_to(text.len());
        let letter = ALPHABET[up_to(ALPHABET.len())];
        match up_to(6) {
            0 => text.truncate(place),
            1 => text.insert(place, letter),
            2 if !text.is_empty() => _ = text.remove(place),
            3 => text.truncate(place.max(4)),
            4 => {
                let other = cookies[up_to(cookies.len())].as_bytes();
                text.truncate(place);
                text.extend_from_slice(&other[place.min(other.len())..]);
            }
            _ if !text.is_empty() => text[place] = letter,
            _ => {}
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The number of mutations to try, which `cargo xtask fuzz 1000000` sets.
fn mutations() -> u64 {
    std::env::var("FUZZ_MUTATIONS").map_or(50_000, |text| text.parse().expect("FUZZ_MUTATIONS is a number"))
}

#[test]
fn fuzz_no_mutation_opens() {
    let sealers: Vec<Sealer> = KINDS.iter().flat_map(|kind| [sealer(*kind, &[1, 2]), sealer(*kind, &[2])]).collect();
    let payloads = ["j{}".to_owned(), "j{\"num_visits\":3}".to_owned(), format!("j{{\"a\":\"{}\"}}", "b".repeat(500))];
    let mut cookies = Vec::new();
    for sealer in &sealers {
        cookies.extend(payloads.iter().map(|text| sealer.seal(&content(text.clone())).unwrap()));
    }
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    for _ in 0..mutations() {
        let text = mutated(&mut rng, &cookies);
        if !cookies.contains(&text) {
            assert!(sealers.iter().all(|sealer| sealer.open(&text).is_none()), "{text:?} was opened");
        }
    }
}

/// The cost of sealing and opening: `cargo test --release -p session-rocket --lib timing -- --ignored --nocapture`.
#[test]
#[ignore = "timing: for an optimized build on an idle machine"]
fn timing_of_a_kilobyte() {
    let mut random = vec![0; 768];
    TestRng::deterministic_rng(RngAlgorithm::ChaCha).fill_bytes(&mut random);
    let dense = URL_SAFE_NO_PAD.encode(random);
    let goods: Vec<String> =
        (0..12).map(|n| format!("{{\"article\":{n},\"name\":\"a pair of socks\",\"price\":{}}}", n * 199)).collect();
    let json = format!("j{{\"goods\":[{}],\"note\":\"{}\"}}", goods.join(","), "please ring twice ".repeat(19));
    for (text, what) in [(dense, "random"), (json, "JSON")] {
        for kind in KINDS {
            let (sealer, content) = (sealer(kind, &[1]), content(text.clone()));
            let round = || assert!(sealer.open(&sealer.seal(&content).unwrap()).is_some());
            let time = || {
                let start = std::time::Instant::now();
                (0..10_000).for_each(|_| round());
                start.elapsed() / 10_000
            };
            let mut times: Vec<_> = (0..7).map(|_| time()).collect();
            times.sort();
            println!("{kind:?}, {} bytes of {what}: {:?}", text.len(), times[3]);
            assert!(times[3].as_micros() < 10);
        }
    }
}

proptest! {
    #[test]
    fn what_was_sealed_opens(payload in prop::collection::vec(any::<u8>(), 0..3000), moments in any::<[i64; 3]>()) {
        let [issued_at, created_at, expires_at] = moments.map(Timestamp::from_millis);
        let content = Content { issued_at, created_at, expires_at, payload: payload.into() };
        for kind in KINDS {
            let sealer = sealer(kind, &[1]);
            prop_assert_eq!(sealer.open(&sealer.seal(&content).unwrap()), Some((content.clone(), false)));
        }
    }

    #[test]
    fn any_flipped_bit_closes_it(place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        for kind in KINDS {
            let sealer = sealer(kind, &[1]);
            let mut bytes = URL_SAFE_NO_PAD.decode(sealer.seal(&content("j{\"user\":7}")).unwrap()).unwrap();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            prop_assert_eq!(sealer.open(&URL_SAFE_NO_PAD.encode(bytes)), None);
        }
    }

    #[test]
    fn any_bytes_are_closed(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,100}") {
        for kind in KINDS {
            let mut bytes = bytes.clone();
            if let Some(first) = bytes.first_mut() {
                *first = kind as u8;
            }
            let sealer = sealer(kind, &[1]);
            prop_assert_eq!(sealer.open(&URL_SAFE_NO_PAD.encode(bytes)), None);
            prop_assert_eq!(sealer.open(&text), None);
        }
    }
}
