//! The schemes of store URLs.

use crate::base::hint::nearest;

/// The back-end that a URL's scheme selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Sqlite,
    Postgres,
    MySql,
    Redis,
    Memcached,
    File,
    Memory,
    SignedCookie,
    EncryptedCookie,
}

/// Every scheme as a URL spells it.
const NAMES: [(&str, Scheme); 14] = [
    ("sqlite", Scheme::Sqlite),
    ("postgres", Scheme::Postgres),
    ("postgresql", Scheme::Postgres),
    ("mysql", Scheme::MySql),
    ("mariadb", Scheme::MySql),
    ("redis", Scheme::Redis),
    ("rediss", Scheme::Redis),
    ("redis+cluster", Scheme::Redis),
    ("rediss+cluster", Scheme::Redis),
    ("memcached", Scheme::Memcached),
    ("file", Scheme::File),
    ("memory", Scheme::Memory),
    ("cookie+signed", Scheme::SignedCookie),
    ("cookie+encrypted", Scheme::EncryptedCookie),
];

impl Scheme {
    /// The scheme of `url`, in any case of letters.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let (name, _) = url.split_once(':')?;
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, scheme)| *scheme)
    }

    /// Whether each session is in its own cookie, so that there is no store.
    pub(crate) fn is_cookie(self) -> bool {
        matches!(self, Self::SignedCookie | Self::EncryptedCookie)
    }

    /// Whether sessions are in a table, which has to be migrated.
    pub(crate) fn has_table(self) -> bool {
        matches!(self, Self::Sqlite | Self::Postgres | Self::MySql)
    }

    /// The cargo feature that the back-end needs.
    fn feature(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => Some("sqlite"),
            Self::Postgres => Some("postgres"),
            Self::MySql => Some("mysql"),
            Self::Redis => Some("redis"),
            Self::Memcached => Some("memcached"),
            Self::File => Some("file"),
            Self::Memory | Self::SignedCookie | Self::EncryptedCookie => None,
        }
    }
}

/// Whether the URL's sessions are lost when the process ends.
pub(crate) fn is_in_memory(url: &str) -> bool {
    let url = url.to_ascii_lowercase();
    match Scheme::of(&url) {
        Some(Scheme::Memory) => true,
        Some(Scheme::Sqlite) => url.contains(":memory:") || url.contains("mode=memory"),
        _ => false,
    }
}

/// Why no back-end of this build opens `url`, and what to write instead. Shows nothing of the URL but its scheme.
pub(super) fn refusal(url: &str) -> String {
    let Some((name, _)) = url.split_once(':') else {
        return format!("the URL has no scheme: write one of {}", list());
    };
    let name = name.to_ascii_lowercase();
    match Scheme::of(url) {
        Some(scheme) if scheme.is_cookie() => {
            format!("`{name}:` is not a store: with `store = \"{name}:\"`, each session is in its own cookie")
        }
        Some(Scheme::File) if cfg!(not(unix)) => "a `file:` store needs a Unix system".to_owned(),
        Some(scheme) => {
            let feature = scheme.feature().unwrap_or("none");
            format!("this build lacks the cargo feature `{feature}`: enable it for `session-rocket`")
        }
        None => match nearest(&name, NAMES.iter().map(|(known, _)| *known)) {
            Some(known) => format!("unknown store `{name}:`; did you mean `{known}:`?"),
            None => format!("unknown store `{name}:`; write one of {}", list()),
        },
    }
}

fn list() -> String {
    NAMES.map(|(name, _)| format!("`{name}:`")).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_scheme_gets_a_suggestion() {
        for (url, suggestion) in [
            ("redus://:secret@host", "unknown store `redus:`; did you mean `redis:`?"),
            ("postgress://host/db", "unknown store `postgress:`; did you mean `postgres:`?"),
            ("Cookie:", "unknown store `cookie:`; did you mean `cookie+signed:`?"),
            ("cookie+sealed:", "unknown store `cookie+sealed:`; did you mean `cookie+signed:`?"),
            ("redis-cluster://a,b", "unknown store `redis-cluster:`; did you mean `redis+cluster:`?"),
        ] {
            assert_eq!(refusal(url), suggestion);
        }
    }

    #[test]
    fn an_unknown_scheme_gets_the_complete_list() {
        for (url, problem) in [("mongodb://:secret@host", "unknown store `mongodb:`"), ("sessions.db", "no scheme")] {
            let text = refusal(url);
            assert!(text.contains(problem) && !text.contains("secret"), "{text}");
            for (name, _) in NAMES {
                assert!(text.contains(&format!("`{name}:`")), "{name} is missing: {text}");
            }
        }
    }

    #[test]
    fn a_back_end_that_is_not_built_names_its_feature() {
        assert!(refusal("rediss+cluster://host").contains("lacks the cargo feature `redis`"));
    }

    #[test]
    fn stores_in_memory_are_known_by_all_their_names() {
        for url in ["memory:", "Memory:", "sqlite::memory:", "sqlite://:memory:", "SQLite://x?mode=memory"] {
            assert!(is_in_memory(url), "{url}");
        }
        assert!(!is_in_memory("sqlite://memory.db") && !is_in_memory("postgres://host/memory:"));
    }
}
