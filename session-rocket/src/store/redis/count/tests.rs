//! Which keys are counted.

use super::*;

#[test]
fn a_prefix_matches_itself_alone() {
    assert_eq!(escape_pattern("a*b[c]?\\"), "a\\*b\\[c\\]\\?\\\\");
    let key = "0f".repeat(32);
    assert!(is_session(&format!("x:{key}"), "x:"));
    for other in [format!("x:index:{key}"), format!("x:{key}0"), "x:".into(), format!("y:{key}")] {
        assert!(!is_session(&other, "x:"), "{other}");
    }
}
