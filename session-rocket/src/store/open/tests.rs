//! URLs that open no store.

#[cfg(feature = "redis")]
use std::time::Duration;

use super::*;
use crate::base::error::ErrorKind;

#[tokio::test]
async fn an_invalid_url_names_its_setting() {
    for (url, says) in [
        ("redus://:secret@host", "unknown store `redus:`; did you mean `redis:`?"),
        ("cookie+signed:", "`cookie+signed:` keeps each session in its own cookie"),
        ("sessions.db", "the URL has no scheme"),
        #[cfg(feature = "redis")]
        ("redis://:secret@", "invalid Redis URL"),
        #[cfg(feature = "memcached")]
        ("memcached://:secret@host", "user and password are not supported"),
        #[cfg(feature = "postgres")]
        ("postgres://:secret@host:port", "invalid PostgreSQL URL"),
        #[cfg(feature = "mysql")]
        ("mysql://:secret@host", "the URL contains no database name"),
        #[cfg(feature = "sqlite")]
        ("sqlite:x.db?key=secret", "unknown parameter `key`"),
        #[cfg(all(feature = "file", unix))]
        ("file:", "contains no directory"),
    ] {
        for (options, setting) in [(Options::new(url), "store"), (Options::new("memory:").cache(url), "cache")] {
            let error = open(&options).await.err().unwrap_or_else(|| panic!("accepted: {url}"));
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            let text = crate::base::error::Chain(&error).to_string();
            assert!(text.starts_with(&format!("cannot open `{setting}`: ")) && text.contains(says), "{text}");
            assert!(!text.contains("secret") && text.matches("cannot open `").count() == 1, "{text}");
        }
    }
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn a_store_that_cannot_be_reached_names_its_setting() {
    let options = Options::new("redis://:secret@127.0.0.1:1").timeout(Duration::from_secs(1));
    let error = open(&options).await.err().unwrap();
    assert!(error.kind().is_transient());
    let text = crate::base::error::Chain(&error).to_string();
    assert!(text.starts_with("cannot open `store`: cannot connect to Redis") && !text.contains("secret"), "{text}");
}
