//! The schemes of URLs, and the errors for unknown schemes.

use super::*;

fn message_for(url: &str) -> String {
    opener(url).expect_err("no store").to_string()
}

#[test]
fn a_misspelled_scheme_gets_a_suggestion() {
    for (url, suggestion) in [
        ("redus://:secret@host", "unknown store `redus:`; did you mean `redis:`?"),
        ("postgress://host/db", "unknown store `postgress:`; did you mean `postgres:`?"),
        ("Cookie:", "unknown store `cookie:`; did you mean `cookie+signed:`?"),
        ("cookie+sealed:", "unknown store `cookie+sealed:`; did you mean `cookie+signed:`?"),
        ("redis-cluster://a,b", "unknown store `redis-cluster:`; did you mean `redis+cluster:`?"),
    ] {
        assert_eq!(message_for(url), suggestion);
    }
}

#[test]
fn an_unknown_scheme_gets_the_complete_list() {
    for (url, problem) in [("mongodb://:secret@host", "unknown store `mongodb:`"), ("sessions.db", "no scheme")] {
        let text = message_for(url);
        assert!(text.contains(problem) && !text.contains("secret"), "{text}");
        for name in names() {
            assert!(text.contains(&format!("`{name}:`")), "{name} is missing: {text}");
        }
    }
}

#[test]
fn a_back_end_that_is_not_built_names_its_feature() {
    assert!(
        missing_opener_message("rediss+cluster://host", row_of("redis:")).contains("lacks the cargo feature `redis`")
    );
}

#[test]
fn stores_in_memory_are_known_by_all_their_names() {
    for url in ["memory:", "Memory:", "sqlite::memory:", "sqlite://:memory:", "SQLite://x?mode=memory"] {
        assert!(is_in_memory(url), "{url}");
    }
    assert!(!is_in_memory("sqlite://memory.db") && !is_in_memory("postgres://host/memory:"));
}

#[test]
fn every_back_end_is_in_the_documentation() {
    for page in ["../README.md", "../docs/stores.md", "src/lib.rs"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let text = std::fs::read_to_string(path).unwrap();
        for name in TABLE.iter().map(|row| row.names[0]) {
            assert!(text.contains(&format!("{name}:")), "{page} does not mention `{name}:`");
        }
    }
}
