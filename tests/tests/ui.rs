//! What users read when they get the derive wrong: one mistake per file, and the message next to it.
//!
//! After a change to a message run with `TRYBUILD=overwrite`, and read what it wrote as a user would.

#[test]
fn compile_errors() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/*.rs");
}
