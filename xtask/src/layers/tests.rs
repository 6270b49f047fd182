use std::path::Path;

use super::graph::Graph;
use super::source::Source;
use super::{names_rocket, table};

fn parse_all(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(path, text)| Source::parse(Path::new(path), text).unwrap()).collect()
}

fn layers() -> Vec<String> {
    table("# Page\n\n## The layers\n\n| folder | holds |\n|---|---|\n| `base/` | basics |\n| `web/` | Rocket |\n")
        .unwrap()
}

#[test]
fn the_layers_are_the_rows_of_the_table() {
    assert_eq!(layers(), ["base", "web"]);
    assert!(table("# Page without a table").is_err());
}

#[test]
fn every_form_of_import_of_a_higher_layer_is_a_violation() {
    for import in [
        "use crate::web::cookie::Cookie;",
        "pub(crate) use crate::web::cookie::Cookie;",
        "use crate::{web::cookie::{self, Cookie}};",
        "use super::super::web::cookie;",
        "fn read() { crate::web::cookie::read() }",
        "fn read() -> Vec<crate::web::cookie::Cookie> { Vec::new() }",
        "use crate::web::Cookie;",
    ] {
        let sources = parse_all(&[
            ("base/id.rs", import),
            ("web/mod.rs", "pub(crate) mod cookie; pub(crate) use self::cookie::Cookie;"),
            ("web/cookie.rs", ""),
        ]);
        let violations = Graph::new(&sources).upward(&layers());
        assert_eq!(violations.len(), 1, "{import}: {violations:?}");
        assert!(violations[0].starts_with("base/id.rs: imports web/"), "{violations:?}");
    }
}

#[test]
fn imports_of_lower_layers_and_in_test_code_are_allowed() {
    let sources = parse_all(&[
        ("base/id.rs", "#[cfg(test)] mod tests { use crate::web::cookie; } #[cfg(test)] use crate::web::cookie;"),
        ("web/cookie.rs", "use crate::base::id; use rocket::http::Cookie;"),
    ]);
    assert!(Graph::new(&sources).upward(&layers()).is_empty());
    assert!(Graph::new(&sources).cycles().is_empty());
}

#[test]
fn a_cycle_of_any_length_is_found() {
    let sources = parse_all(&[
        ("base/a.rs", "use super::b::B;"),
        ("base/b.rs", "use crate::base::c;"),
        ("base/c.rs", "fn c() { super::a::a() }"),
        ("base/d.rs", "use super::a::A;"),
    ]);
    assert_eq!(Graph::new(&sources).cycles(), [["base/a.rs", "base/b.rs", "base/c.rs"]]);
}

#[test]
fn a_parent_may_re_export_its_child_but_not_import_it_if_the_child_imports_the_parent() {
    let child = ("base/child.rs", "use super::Parent;");
    let re_exporting = parse_all(&[("base/mod.rs", "mod child; pub(crate) use self::child::Child;"), child]);
    assert!(Graph::new(&re_exporting).cycles().is_empty());
    let importing = parse_all(&[("base/mod.rs", "mod child; use self::child::Child;"), child]);
    assert_eq!(Graph::new(&importing).cycles(), [["base/mod.rs", "base/child.rs"]]);
}

#[test]
fn only_the_rocket_folder_may_name_rocket() {
    let is_violation = |path: &str, text: &str| names_rocket(&Source::parse(Path::new(path), text).unwrap());
    assert!(is_violation("base/id.rs", "use rocket::http::Status;"));
    assert!(is_violation("base/id.rs", "fn status() -> rocket::http::Status { todo!() }"));
    assert!(!is_violation("web/guard.rs", "use rocket::http::Status;"));
    assert!(!is_violation("base/id.rs", "/// As `rocket::http::Status` says.\nuse session_rocket::Key;"));
}

#[test]
fn the_length_of_a_function_is_its_number_of_lines() {
    let source =
        Source::parse(Path::new("base/id.rs"), "fn short() {}\n\nfn long(\n    a: u8,\n) {\n    drop(a);\n}\n")
            .unwrap();
    let lengths: Vec<(&str, usize)> = source.functions.iter().map(|f| (f.name.as_str(), f.lines)).collect();
    assert_eq!(lengths, [("short", 1), ("long", 5)]);
}
