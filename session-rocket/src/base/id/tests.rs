use super::*;

#[test]
fn an_exposed_id_parses_and_nothing_else_does() {
    let id = SessionId::random().unwrap();
    let text = id.expose();
    assert_eq!(text.len(), ID_CHARS);
    assert_eq!(SessionId::parse(&text), Some(id));
    // The last character encodes four bits and two zero bits, and 'B' sets one of the zero bits.
    let sloppy = format!("{}B", &"A".repeat(ID_CHARS - 1));
    for bad in ["", "x", &text[1..], &format!("{text}A"), &format!("{}=", &text[..42]), &sloppy] {
        assert_eq!(SessionId::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn debug_shows_neither_id_nor_key() {
    let id = SessionId::random().unwrap();
    let key = id.key("session");
    let shown = format!("{id:?} {key:?}");
    assert!(!shown.contains(&id.expose()) && !shown.contains(&key.to_hex()));
    assert!(shown.starts_with("SessionId(…) Key("), "{shown}");
    let handle = key.handle().to_string();
    assert_eq!((handle.len(), handle == id.key("session").handle().to_string()), (22, true));
    assert!(!key.to_hex().contains(&handle) && !id.expose().contains(&handle));
}

#[test]
fn a_key_belongs_to_one_scope() {
    let id = SessionId::random().unwrap();
    assert_ne!(id.key("admin"), id.key("session"));
    assert_eq!(id.key("session"), id.key("session"));
}

#[test]
fn a_key_has_exactly_one_hexadecimal_string() {
    let key = Key::from_bytes([0xAF; 32]);
    assert_eq!(Key::from_hex(&key.to_hex()), Some(key));
    let upper = key.to_hex().to_uppercase();
    let longer = format!("{}00", key.to_hex());
    for none in ["", "af", &upper, &longer, &longer[..62], &"é".repeat(32)] {
        assert_eq!(Key::from_hex(none), None, "{none}");
    }
}

#[test]
fn a_digest_belongs_to_one_key_and_one_purpose() {
    let [one, other] = [1, 2].map(|byte| Key::from_bytes([byte; 32]));
    assert_eq!(one.digest("csrf"), one.digest("csrf"));
    assert_ne!(one.digest("csrf"), other.digest("csrf"));
    assert_ne!(one.digest("csrf"), one.digest("other"));
}

#[test]
fn a_handle_parses_from_its_text_and_nothing_else_does() {
    let handle = Key::from_bytes([7; 32]).handle();
    let text = handle.to_string();
    assert_eq!(text.parse(), Ok(handle));
    assert_eq!(serde_json::to_string(&handle).unwrap(), format!("\"{text}\""));
    assert_eq!(format!("{handle:?}"), format!("SessionHandle({text})"));
    assert!(InvalidHandle.to_string().contains("22 characters"));
    // The last character encodes two bits and four zero bits, and 'B' sets one of the zero bits.
    for bad in ["", &text[1..], &format!("{text}A"), &format!("{text}=="), &format!("{}B", &text[..21]), "é"] {
        assert_eq!(bad.parse::<SessionHandle>(), Err(InvalidHandle), "{bad:?}");
    }
}
