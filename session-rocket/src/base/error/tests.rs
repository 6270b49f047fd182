use super::*;

#[test]
fn a_chain_shows_each_cause_once() {
    let cause = Error::with_source(ErrorKind::Unavailable, "the file: it is gone", "it is gone");
    let error = Error::with_source(ErrorKind::Unavailable, "cannot open", cause);
    assert_eq!(Chain(&error).to_string(), "cannot open: the file: it is gone");
    assert_eq!(format!("{error:#} {error}"), "cannot open: the file: it is gone cannot open");
    let debug = r#"Error { kind: Unavailable, context: "cannot open", source: "the file: it is gone" }"#;
    assert_eq!(format!("{error:?}"), debug);
}
