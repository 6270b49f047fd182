//! Checks the links between the project's Markdown files, without the network.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::{Result, output};

/// Fails if a Markdown file links to a missing file or heading.
pub fn check() -> Result {
    let listed = output(Command::new("git").args(["ls-files", "*.md"])).ok_or("cannot list the Markdown files")?;
    let broken: Vec<String> = listed.lines().flat_map(|file| broken_links(Path::new(file))).collect();
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

fn broken_links(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let broken = links(&text).into_iter().filter(|link| !is_external(link) && !has_target(file, link));
    broken.map(|link| format!("{}: broken link `{link}`", file.display())).collect()
}

/// The targets of the links in a text, except in code blocks.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    for (part, text) in text.split("```").enumerate() {
        if part % 2 == 0 {
            let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            links.extend(targets.filter_map(|target| target.split_whitespace().next()));
        }
    }
    links
}

/// Whether the target is another site, or an item that rustdoc checks.
fn is_external(link: &str) -> bool {
    link.contains("://")
        || link.starts_with("mailto:")
        || link.contains("::")
        || link.contains('@')
        || link.starts_with("crate#")
}

fn has_target(file: &Path, link: &str) -> bool {
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { file.to_owned() } else { normalize(&file.with_file_name(path)) };
    let has_heading = || fs::read_to_string(&target).is_ok_and(|text| headings(&text).contains(heading));
    target.exists() && (heading.is_empty() || has_heading())
}

/// Resolves `..` in a path.
fn normalize(path: &Path) -> PathBuf {
    let mut normalized = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            normalized.pop();
        } else {
            normalized.push(part);
        }
    }
    normalized
}

/// The anchors that GitHub generates for the headings of a text.
fn headings(text: &str) -> HashSet<String> {
    let text_lines = text.split("```").step_by(2).flat_map(str::lines);
    let titles = text_lines.filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles.map(anchor).collect()
}

fn anchor(title: &str) -> String {
    let words = title.to_lowercase().replace(' ', "-");
    words.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_outside_of_code_are_found() {
        let text = "[a](one.md) and [b](two.md#x \"title\")\n```\n[c](three.md)\n```\n[d](#four)";
        assert_eq!(links(text), ["one.md", "two.md#x", "#four"]);
    }

    #[test]
    fn a_missing_file_or_heading_is_broken() {
        let directory = tempfile::tempdir().expect("a directory");
        let page = directory.path().join("page.md");
        let text = "# What is `new`?\n[a](#what-is-new) [b](#old) [c](page.md) [d](gone.md) [e](https://example.com)";
        fs::write(&page, text).expect("a file");
        let broken: Vec<String> = broken_links(&page);
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].ends_with("`#old`") && broken[1].ends_with("`gone.md`"), "{broken:?}");
    }
}
