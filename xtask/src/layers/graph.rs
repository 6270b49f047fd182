//! The imports between source files, and their direction.

use std::collections::BTreeMap;

use super::source::Source;

/// The imports between the files of one crate.
pub struct Graph<'s> {
    sources: &'s [Source],
    /// For each file, the indices of the files that it imports.
    edges: Vec<Vec<usize>>,
}

impl<'s> Graph<'s> {
    pub fn new(sources: &'s [Source]) -> Self {
        let indices: BTreeMap<&[String], usize> =
            sources.iter().enumerate().map(|(index, source)| (source.module.as_slice(), index)).collect();
        let find = |path: &[String]| resolve(&indices, sources, path, 0);
        let edges = sources
            .iter()
            .enumerate()
            .map(|(index, source)| {
                let mut imported: Vec<usize> = source.imports.iter().filter_map(|path| find(path)).collect();
                // A module that re-exports an item of its child does not depend on the child.
                let re_exported = source.exports.iter().filter(|(_, path)| !path.starts_with(&source.module));
                imported.extend(re_exported.filter_map(|(_, path)| find(path)));
                imported.retain(|other| *other != index);
                imported.sort_unstable();
                imported.dedup();
                imported
            })
            .collect();
        Self { sources, edges }
    }

    /// Every import of a higher layer. Files outside the folders belong to the highest layer.
    pub fn upward(&self, layers: &[String]) -> Vec<String> {
        let rank = |source: &Source| layers.iter().position(|layer| layer == source.layer()).unwrap_or(layers.len());
        let pairs = self.edges.iter().enumerate().flat_map(|(from, to)| to.iter().map(move |to| (from, *to)));
        pairs
            .map(|(from, to)| (&self.sources[from], &self.sources[to]))
            .filter(|(from, to)| rank(to) > rank(from))
            .map(|(from, to)| {
                let (low, high) = (from.layer(), to.layer());
                format!("{}: imports {}; {low}/ is a lower layer than {high}/", from.path, to.path)
            })
            .collect()
    }

    /// Every group of files that import each other, directly or indirectly.
    pub fn cycles(&self) -> Vec<Vec<&'s str>> {
        let reachable: Vec<Vec<bool>> = (0..self.edges.len()).map(|from| self.reachable(from)).collect();
        let mut seen = vec![false; self.edges.len()];
        let mut cycles = Vec::new();
        for from in 0..self.edges.len() {
            let members: Vec<usize> =
                (0..self.edges.len()).filter(|to| reachable[from][*to] && reachable[*to][from]).collect();
            if members.len() < 2 || seen[from] {
                continue;
            }
            members.iter().for_each(|member| seen[*member] = true);
            cycles.push(members.iter().map(|member| self.sources[*member].path.as_str()).collect());
        }
        cycles
    }

    fn reachable(&self, from: usize) -> Vec<bool> {
        let mut reached = vec![false; self.edges.len()];
        let mut open = self.edges[from].clone();
        while let Some(next) = open.pop() {
            if !std::mem::replace(&mut reached[next], true) {
                open.extend(&self.edges[next]);
            }
        }
        reached
    }
}

/// The file that defines the item of a path, after following re-exports.
fn resolve(indices: &BTreeMap<&[String], usize>, sources: &[Source], path: &[String], depth: usize) -> Option<usize> {
    let length = (0..=path.len()).rev().find(|length| indices.contains_key(&path[..*length]))?;
    let index = indices[&path[..length]];
    let export = path.get(length).and_then(|name| sources[index].exports.iter().find(|(export, _)| export == name));
    match export {
        // The limit only prevents an endless loop.
        Some((_, target)) if depth < 8 => resolve(indices, sources, target, depth + 1),
        _ => Some(index),
    }
}
