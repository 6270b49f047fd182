//! Compares the guide's page about attacks with the tests that it names.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../../session-rocket/src/guide/attacks.md");

/// Where the tests are that the page names.
const FOLDERS: [&str; 3] = ["tests/threats", "tests", "../session-rocket/src/tests"];

/// The names of the tests in a file of these folders, such as `browser/late`.
fn tests_in(file: &str) -> Vec<String> {
    let path = FOLDERS.map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(file).with_extension("rs"));
    let source = path.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let functions = source.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
    functions.map(str::to_owned).collect()
}

/// The tests that a line of a table names in its last column, as file and name.
fn named(line: &str) -> Vec<(&str, &str)> {
    let last = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
    last.split('`').skip(1).step_by(2).filter_map(|test| test.split_once("::")).collect()
}

fn lines() -> impl Iterator<Item = &'static str> {
    PAGE.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| test |"))
}

#[test]
fn every_line_of_the_page_has_its_tests() {
    for line in lines() {
        let tests = named(line);
        assert!(!tests.is_empty(), "no test in {line}");
        for (file, name) in tests {
            let is_it = |test: &String| name.strip_suffix('…').map_or(test == name, |start| test.starts_with(start));
            assert!(tests_in(file).iter().any(is_it), "no test `{name}` in `{file}`");
        }
    }
}

#[test]
fn every_test_with_a_handle_is_on_the_page() {
    let named: Vec<(&str, &str)> = lines().flat_map(named).collect();
    for file in ["cookies", "ids", "leaks", "sealed"] {
        for test in tests_in(file).iter().filter(|test| test.starts_with("a_") || test.starts_with("b_")) {
            let is_it = |(other, name): &&(&str, &str)| *other == file && test.starts_with(name.trim_end_matches('…'));
            assert!(named.iter().any(|line| is_it(&line)), "`{file}::{test}` is not on the page");
        }
    }
}
