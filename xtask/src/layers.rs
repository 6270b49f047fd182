//! The rules of the source tree: one-way layers, no import cycles, Rocket in one folder, short files and functions.
//!
//! The table in `docs/architecture.md` has the order of the layers. A file may import its own layer and those above it in
//! the table. Imports are `use` declarations, and paths in code that begin with `crate`, `super` or `self`. Test code is
//! ignored.

mod graph;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use self::graph::Graph;
use self::source::Source;
use crate::{Result, root};

/// In lines, including comments.
const LONGEST_FILE: usize = 400;
/// In lines, from `fn` to the closing brace.
const LONGEST_FUNCTION: usize = 40;

const TABLE: &str = "docs/architecture.md";
const LIBRARY: &str = "session-rocket/src";
const DERIVE: &str = "session-derive/src";
/// The only folder of the library that may name Rocket.
const ROCKET_FOLDER: &str = "web";

/// Checks every source file of both published libraries.
pub fn check() -> Result {
    let layers = table(&read(&root().join(TABLE))?)?;
    let mut violations = Vec::new();
    for folder in [LIBRARY, DERIVE] {
        let sources = sources(&root().join(folder))?;
        for source in &sources {
            violations.extend(sizes(folder, source));
        }
        let graph = Graph::new(&sources);
        violations.extend(graph.cycles().iter().map(|cycle| format!("{folder}: import cycle: {}", cycle.join(" -> "))));
        if folder == LIBRARY {
            violations.extend(
                sources
                    .iter()
                    .filter(|source| names_rocket(source))
                    .map(|source| format!("{folder}/{}: names Rocket outside {ROCKET_FOLDER}/", source.path)),
            );
            violations.extend(graph.upward(&layers));
        }
    }
    if violations.is_empty() {
        println!("==> {} layers, no import cycles", layers.len());
        return Ok(());
    }
    Err(violations.join("\n"))
}

/// Parses the table under the heading "The layers". Returns the folders of the library, lowest layer first.
fn table(page: &str) -> Result<Vec<String>> {
    let section = page.lines().skip_while(|line| *line != "## The layers").skip(1);
    let rows = section.take_while(|line| !line.starts_with("## ")).filter_map(|line| line.strip_prefix("| `"));
    let layers: Vec<String> = rows.filter_map(|row| Some(row.split_once("/`")?.0.to_owned())).collect();
    if layers.is_empty() {
        return Err(format!("missing table of layers under `## The layers` in {TABLE}"));
    }
    Ok(layers)
}

fn sizes(folder: &str, source: &Source) -> Vec<String> {
    let path = format!("{folder}/{}", source.path);
    let long = source.functions.iter().filter(|function| function.lines > LONGEST_FUNCTION).map(|function| {
        format!(
            "{path}: function `{}` has {} lines, expected at most {LONGEST_FUNCTION}",
            function.name, function.lines
        )
    });
    let file = (source.lines > LONGEST_FILE)
        .then(|| format!("{path}: {} lines, expected at most {LONGEST_FILE}", source.lines));
    file.into_iter().chain(long).collect()
}

fn names_rocket(source: &Source) -> bool {
    source.names_rocket && source.layer() != ROCKET_FOLDER && source.layer() != "lib" && source.layer() != "__private"
}

/// Parses every source file below `folder`, except tests.
fn sources(folder: &Path) -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    collect(folder, &mut paths)?;
    paths.sort();
    paths.iter().map(|path| Source::parse(path.strip_prefix(folder).unwrap_or(path), &read(path)?)).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result {
    let entries = fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        match (path.file_stem().and_then(|stem| stem.to_str()), path.extension().and_then(|end| end.to_str())) {
            (Some("tests"), _) => {}
            _ if path.is_dir() => collect(&path, paths)?,
            (_, Some("rs")) => paths.push(path),
            _ => {}
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
