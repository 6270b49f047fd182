use super::*;

#[test]
fn synchronous_is_removed_and_the_other_parameters_stay() {
    let url = Url::parse("sqlite://mode=a.db?mode=rw&synchronous=NORMAL&cache=private").unwrap();
    assert_eq!(url.for_sqlx, "sqlite://mode=a.db?mode=rw&cache=private");
    assert!(matches!(url.synchronous, SqliteSynchronous::Normal) && url.has_mode && !url.has_vfs);
    let url = Url::parse("sqlite:mode=a.db").unwrap();
    assert!(matches!(url.synchronous, SqliteSynchronous::Full) && !url.has_mode);
}

#[test]
fn an_error_names_the_invalid_part_of_a_url() {
    for (url, says) in [
        ("sqlite:a.db?synchronous=off", "`synchronous`"),
        ("sqlite:a.db?journal=wal", "`journal`"),
        ("sqlite:", "no file"),
        ("sqlite://?mode=rwc", "no file"),
    ] {
        let error = Url::parse(url).err().unwrap();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(says), "{url}: {error}");
    }
}

#[test]
fn memory_databases_are_known_by_all_their_names() {
    for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite://x?mode=memory"] {
        assert!(Url::parse(url).unwrap().is_in_memory, "{url}");
    }
    assert!(!Url::parse("sqlite://memory.db").unwrap().is_in_memory);
}
