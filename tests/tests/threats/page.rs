//! Compares the guide's page about attacks with the tests that it names.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../../session-rocket/src/guide/attacks.md");

/// The folders of the tests that the page names.
const FOLDERS: [&str; 4] = ["tests/threats", "tests", "../session-rocket/src/tests", "../examples"];

/// Returns the names of the functions in a file such as `browser/late` in one of these folders.
fn tests_in(file: &str) -> Vec<String> {
    let path = FOLDERS.map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(file).with_extension("rs"));
    let source = path.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let functions = source.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
    functions.map(str::to_owned).collect()
}

/// Returns the tests in the last column of a table row, as file and name.
fn tests_of_row(line: &str) -> Vec<(&str, &str)> {
    let last = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
    last.split('`').skip(1).step_by(2).filter_map(|test| test.split_once("::")).collect()
}

/// Returns the rows of the page's tables.
fn rows() -> impl Iterator<Item = &'static str> {
    PAGE.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| test |"))
}

#[test]
fn every_row_of_the_page_names_tests_that_exist() {
    for row in rows() {
        let tests = tests_of_row(row);
        assert!(!tests.is_empty(), "no test in the row {row}");
        for (file, name) in tests {
            let has_name = |test: &String| name.strip_suffix('…').map_or(test == name, |start| test.starts_with(start));
            assert!(tests_in(file).iter().any(has_name), "no test `{name}` in `{file}`");
        }
    }
}

#[test]
fn every_test_with_a_number_is_on_the_page() {
    let named: Vec<(&str, &str)> = rows().flat_map(tests_of_row).collect();
    for file in ["accounts", "cookies", "ids", "leaks", "sealed"] {
        for test in tests_in(file).iter().filter(|test| test.starts_with("a_") || test.starts_with("b_")) {
            let has_name =
                |(other, name): &&(&str, &str)| *other == file && test.starts_with(name.trim_end_matches('…'));
            assert!(named.iter().any(|entry| has_name(&entry)), "`{file}::{test}` is not on the page");
        }
    }
}
