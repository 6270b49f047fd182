use sqlx::Postgres;

use super::*;

#[test]
fn an_error_about_a_url_shows_no_password() {
    for url in [
        "postgres://site:99#geheim@host/db",
        "postgres://site:99?geheim@host/db",
        "postgres://site:99/geheim@host/db",
        "postgres://host/db?user=ada@geheim",
        "postgres://host/db?pass=geheim",
        "postgres://host/db?sslmode=require&geheim",
        "postgres://site:geheim",
        "postgres:site:geheim@host",
    ] {
        let error = parse::<Postgres>(url).expect_err(url);
        assert!(error.kind() == ErrorKind::Config && !error.to_string().contains("geheim"), "{error}");
    }
    for url in [
        "postgres://host",
        "postgres://u:p%40@host:5432/db?sslmode=require&user=x&options[a]=b",
        "postgres://u:p@q@[::1]:5432/db",
        "postgres://u@[::1]/db",
        "postgres:///db?sslmode=disable",
    ] {
        parse::<Postgres>(url).expect(url);
    }
}
