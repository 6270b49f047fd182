use super::*;

#[test]
fn the_nearest_word_is_suggested_and_a_distant_one_is_not() {
    let known = ["same_site", "cookie_name", "expiry", "redis", "refresh"];
    let suggested = |word| nearest(word, known);
    assert_eq!(suggested("SameSite"), Some("same_site"));
    assert_eq!(suggested("cooky-name"), Some("cookie_name"));
    assert_eq!(suggested("name"), Some("cookie_name"));
    assert_eq!(suggested("expirey"), Some("expiry"));
    assert_eq!(suggested("redus"), Some("redis"));
    for distant in ["", "r", "red", "mongodb"] {
        assert_eq!(suggested(distant), None, "{distant}");
    }
}

#[test]
fn a_word_with_few_different_letters_is_suggested_before_a_part_of_the_word() {
    assert_eq!(nearest("connection", ["connect", "max_connections"]), Some("max_connections"));
    assert_eq!(nearest("connection", ["connect", "cookie_name"]), Some("connect"));
}
