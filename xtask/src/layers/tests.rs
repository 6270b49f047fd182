use std::path::Path;

use super::graph::Graph;
use super::source::Source;
use super::{names_rocket, table};

fn crate_of(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(path, text)| Source::parse(Path::new(path), text).unwrap()).collect()
}

fn order() -> Vec<String> {
    table("# Page\n\n## The layers\n\n| folder | holds |\n|---|---|\n| `base/` | words |\n| `web/` | the edge |\n")
        .unwrap()
}

#[test]
fn the_layers_are_the_rows_of_the_table() {
    assert_eq!(order(), ["base", "web"]);
    assert!(table("# Page without a table").is_err());
}

#[test]
fn an_import_of_a_higher_layer_is_a_fault_however_it_is_written() {
    for import in [
        "use crate::web::cookie::Cookie;",
        "pub(crate) use crate::web::cookie::Cookie;",
        "use crate::{web::cookie::{self, Cookie}};",
        "use super::super::web::cookie;",
        "fn read() { crate::web::cookie::read() }",
        "fn read() -> Vec<crate::web::cookie::Cookie> { Vec::new() }",
        "use crate::web::Cookie;",
    ] {
        let sources = crate_of(&[
            ("base/id.rs", import),
            ("web/mod.rs", "pub(crate) mod cookie; pub(crate) use self::cookie::Cookie;"),
            ("web/cookie.rs", ""),
        ]);
        let faults = Graph::new(&sources).upward(&order());
        assert_eq!(faults.len(), 1, "{import}: {faults:?}");
        assert!(faults[0].starts_with("base/id.rs: imports web/"), "{faults:?}");
    }
}

#[test]
fn imports_of_lower_layers_and_of_test_code_are_none() {
    let sources = crate_of(&[
        ("base/id.rs", "#[cfg(test)] mod tests { use crate::web::cookie; } #[cfg(test)] use crate::web::cookie;"),
        ("web/cookie.rs", "use crate::base::id; use rocket::http::Cookie;"),
    ]);
    assert!(Graph::new(&sources).upward(&order()).is_empty());
    assert!(Graph::new(&sources).circles().is_empty());
}

#[test]
fn a_circle_is_found_whatever_its_length() {
    let sources = crate_of(&[
        ("base/a.rs", "use super::b::B;"),
        ("base/b.rs", "use crate::base::c;"),
        ("base/c.rs", "fn c() { super::a::a() }"),
        ("base/d.rs", "use super::a::A;"),
    ]);
    assert_eq!(Graph::new(&sources).circles(), [["base/a.rs", "base/b.rs", "base/c.rs"]]);
}

#[test]
fn a_parent_may_show_its_child_but_not_use_it_and_be_used_by_it() {
    let child = ("base/child.rs", "use super::Parent;");
    let shown = crate_of(&[("base/mod.rs", "mod child; pub(crate) use self::child::Child;"), child]);
    assert!(Graph::new(&shown).circles().is_empty());
    let used = crate_of(&[("base/mod.rs", "mod child; use self::child::Child;"), child]);
    assert_eq!(Graph::new(&used).circles(), [["base/mod.rs", "base/child.rs"]]);
}

#[test]
fn rocket_is_named_in_its_folder_only() {
    let named = |path: &str, text: &str| names_rocket(&Source::parse(Path::new(path), text).unwrap());
    assert!(named("base/id.rs", "use rocket::http::Status;"));
    assert!(named("base/id.rs", "fn status() -> rocket::http::Status { todo!() }"));
    assert!(!named("web/guard.rs", "use rocket::http::Status;"));
    assert!(!named("base/id.rs", "/// As `rocket::http::Status` says.\nuse session_rocket::Key;"));
}

#[test]
fn the_length_of_a_function_counts_its_lines() {
    let source =
        Source::parse(Path::new("base/id.rs"), "fn short() {}\n\nfn long(\n    a: u8,\n) {\n    drop(a);\n}\n")
            .unwrap();
    let lengths: Vec<(&str, usize)> = source.functions.iter().map(|f| (f.name.as_str(), f.lines)).collect();
    assert_eq!(lengths, [("short", 1), ("long", 5)]);
}
