//! The compiler errors for mistakes in the use of the derive. Each file in `tests/ui` has a mistake, with the expected
//! messages next to it.
//!
//! After a change of a message, run the test with `TRYBUILD=overwrite`, and read the new messages as a user would.

#[test]
fn mistakes_have_the_expected_compiler_errors() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/*.rs");
}
