use super::*;

#[test]
fn a_mac_verifies_its_auth_hash_only() {
    let mac = AuthMac::of("$argon2id$v=19$one").unwrap();
    assert!(mac.verifies("$argon2id$v=19$one"));
    assert!(!mac.verifies("$argon2id$v=19$two"));
    assert!(!mac.verifies(""));
}

#[test]
fn a_mac_survives_its_stored_form() {
    let mac = AuthMac::of("hash").unwrap();
    assert!(AuthMac::from_text(&mac.to_text()) == Some(mac));
    assert!(AuthMac::from_text(&mac.to_text()[1..]).is_none());
}

#[test]
fn two_sessions_of_one_user_store_different_macs() {
    assert!(AuthMac::of("hash").unwrap() != AuthMac::of("hash").unwrap());
}
