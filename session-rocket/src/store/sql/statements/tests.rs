use sqlx::{MySql, Postgres, Sqlite};

use super::*;
use crate::base::id::Key;

fn check_group<DB: Dialect>() {
    let table = Table::new("sessions", DB::SYNTAX.quote, DB::SYNTAX.has_schemas).expect("a valid name");
    let statements = Statements::new::<DB>(&table);
    let call = Call::new(&Key::from_bytes([1; 32]), vec![Value::Int(Some(1)); 9]);
    let Statements { load, insert, update, touch, retire, .. } = &statements;
    for GroupableStatement { alone, group, lock } in [load, insert, update, touch, retire] {
        for sql in std::iter::once(group).chain(lock).map(|group| group.sql::<DB>(&[&call, &call])) {
            let sql = sql.as_str();
            let has_number = sql.split('?').skip(1).any(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
            assert!(!has_number && !sql.contains(['{', '}']), "{} in {}: {sql}", alone.verb, DB::NAME);
        }
        assert!(!alone.sql.as_str().contains(['{', '}']), "{}: {}", alone.verb, alone.sql.as_str());
    }
}

/// The database would refuse a statement with a placeholder, and each call would silently run alone.
#[test]
fn the_statement_of_a_group_has_no_placeholder_and_no_parameter_of_a_single_call() {
    check_group::<Sqlite>();
    check_group::<Postgres>();
    check_group::<MySql>();
}
