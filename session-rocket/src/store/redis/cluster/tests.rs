//! Slots, and replies to `CLUSTER SLOTS`.

use super::*;

#[test]
fn slots_are_those_of_the_specification() {
    assert_eq!(crc16(b"123456789"), 0x31c3);
    assert_eq!(slot(b"foo"), 12182);
    assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
    assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
    assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
    // Without a tag, or with an empty tag, the whole key is hashed.
    assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
    assert_eq!(slot(b"foo{bar"), crc16(b"foo{bar") % SLOTS);
}

#[test]
fn a_range_may_leave_out_its_host() {
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    let place = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id")]);
    let places = [place(text(""), 1), place(Value::Nil, 2), place(text("b"), 3), place(text("?"), 4)];
    let row = [vec![Value::Int(5), Value::Int(9)], places.to_vec()].concat();
    let named = [("a", 1), ("a", 2), ("b", 3)].map(|(host, port)| (host.to_owned(), port));
    assert_eq!(range(row, "a"), Some((5, 9, named.to_vec())));
    assert_eq!(range(vec![Value::Int(5)], "a"), None);
}
