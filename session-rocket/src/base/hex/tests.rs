use super::*;

#[test]
fn bytes_survive_their_digits_and_nothing_else_decodes() {
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(decode(&encode(&bytes)), Some(bytes.clone()));
    assert_eq!(decode(&encode(&bytes).to_uppercase()), Some(bytes));
    assert_eq!((encode(&[0x0a, 0xf1]).as_str(), decode("")), ("0af1", Some(Vec::new())));
    for bad in ["a", "abc", "+1", "g0", " 0", "é"] {
        assert_eq!(decode(bad), None, "{bad:?}");
    }
}
