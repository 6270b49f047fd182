use super::*;

#[test]
fn a_name_cannot_end_its_quotes() {
    let table = Table::new("a\"b; drop table x; {table:}", '"', false).unwrap();
    assert_eq!(table.fill("FROM {table}"), "FROM \"a\"\"b; drop table x; {table:}\"");
    assert_eq!(Table::new("t", '"', false).unwrap().fill("{table:x} ON {table}"), "\"t_x\" ON \"t\"");
    assert_eq!(Table::new("a`b", '`', false).unwrap().fill("{table}"), "`a``b`");
    for bad in ["", "a\0b", &"x".repeat(49)] {
        assert_eq!(Table::new(bad, '"', false).unwrap_err().kind(), ErrorKind::Config);
    }
}

#[test]
fn the_part_before_the_first_dot_is_a_schema_if_the_database_has_schemas() {
    let table = Table::new("app.a.b", '"', true).unwrap();
    assert_eq!(table.fill("{table:x} ON {table}"), "\"a.b_x\" ON \"app\".\"a.b\"");
    assert_eq!((table.migrations_table(), table.name()), ("\"app\".\"a.b_migrations\"".into(), "app.a.b".into()));
    assert_eq!(Table::new("app.a", '"', false).unwrap().fill("{table}"), "\"app.a\"");
    for bad in [".a", "a.", "."] {
        assert_eq!(Table::new(bad, '"', true).unwrap_err().kind(), ErrorKind::Config);
    }
}
