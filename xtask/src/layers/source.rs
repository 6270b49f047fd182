//! One source file: the paths that it imports, what it re-exports, and the lengths of its functions.

use std::path::Path;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::Result;

/// A source file without its test code.
pub struct Source {
    /// The path below the crate's `src`, with slashes.
    pub path: String,
    /// The module, such as `["store", "sql", "batch"]`; empty for `lib.rs`.
    pub module: Vec<String>,
    pub lines: usize,
    pub functions: Vec<Function>,
    pub names_rocket: bool,
    /// Every path in this crate that the file imports or names.
    pub imports: Vec<Vec<String>>,
    /// The re-exports: the name, and the path of the item.
    pub exports: Vec<(String, Vec<String>)>,
}

pub struct Function {
    pub name: String,
    pub lines: usize,
}

impl Source {
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let shown = path.to_string_lossy().replace('\\', "/");
        let tokens: TokenStream = text.parse().map_err(|error| format!("cannot parse {shown}: {error}"))?;
        let mut source = Self {
            module: module(&shown),
            path: shown,
            lines: text.lines().count(),
            functions: Vec::new(),
            names_rocket: false,
            imports: Vec::new(),
            exports: Vec::new(),
        };
        source.walk(&without_tests(tokens));
        Ok(source)
    }

    /// The first folder of the path, or the name of a file outside the folders.
    pub fn layer(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    fn walk(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while at < tokens.len() {
            at += match word(tokens.get(at)).as_deref() {
                Some("use") => self.declaration(tokens, at),
                Some("fn") => self.function(tokens, at),
                Some("crate" | "self" | "super" | "rocket")
                    if is_path(tokens, at + 1) && !is_path_before(tokens, at) =>
                {
                    self.expression(tokens, at)
                }
                _ => {
                    if let Some(TokenTree::Group(group)) = tokens.get(at) {
                        let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                        self.walk(&inside);
                    }
                    1
                }
            };
        }
    }

    /// Reads a `use` declaration and returns its number of tokens.
    fn declaration(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let end = tokens[at..].iter().position(|token| is_punct(token, ';')).unwrap_or(tokens.len() - at);
        let mut paths = Vec::new();
        tree(&tokens[at + 1..at + end], &mut Vec::new(), &mut paths);
        let is_export =
            at > 0 && (word(tokens.get(at - 1)).as_deref() == Some("pub") || is_restriction(&tokens[at - 1]));
        for path in paths {
            self.names_rocket |= path.first().is_some_and(|first| first == "rocket");
            let Some(full) = self.resolve(&path) else { continue };
            match full.last() {
                Some(name) if is_export => self.exports.push((name.clone(), full)),
                _ => self.imports.push(full),
            }
        }
        end
    }

    /// Reads a function and the paths in it, and returns its number of tokens.
    fn function(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let Some(name) = word(tokens.get(at + 1)) else { return 1 };
        let rest = &tokens[at..];
        let ends = |token: &TokenTree| is_punct(token, ';') || is_group(token, Delimiter::Brace);
        let Some(end) = rest.iter().position(ends) else { return 1 };
        if let TokenTree::Group(body) = &rest[end] {
            let lines = body.span_close().end().line + 1 - rest[0].span().start().line;
            self.functions.push(Function { name, lines });
        }
        // The signature and the body, without the word `fn`.
        self.walk(&rest[1..=end]);
        end + 1
    }

    /// Reads a path in code and returns its number of tokens.
    fn expression(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let mut path = vec![word(tokens.get(at)).unwrap_or_default()];
        let mut end = at + 1;
        while is_path(tokens, end) {
            let Some(name) = word(tokens.get(end + 2)) else { break };
            path.push(name);
            end += 3;
        }
        self.names_rocket |= path[0] == "rocket";
        if let Some(full) = self.resolve(&path) {
            self.imports.push(full);
        }
        end - at
    }

    /// The path from the crate's root, or `None` for another crate.
    fn resolve(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut full = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len().saturating_sub(1)].to_vec(),
            _ => return None,
        };
        for name in rest {
            if name == "super" {
                full.pop();
            } else {
                full.push(name.clone());
            }
        }
        Some(full)
    }
}

fn module(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "lib" => Vec::new(),
        path => path.split('/').map(ToOwned::to_owned).collect(),
    }
}

/// Collects the paths of a `use` tree. A renamed item keeps its original name.
fn tree(tokens: &[TokenTree], prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    for branch in tokens.split(|token| is_punct(token, ',')) {
        let depth = prefix.len();
        let mut names = branch.iter().take_while(|token| word(Some(token)).as_deref() != Some("as"));
        let mut group = None;
        for token in &mut names {
            match token {
                TokenTree::Ident(name) => prefix.push(name.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == '*' => prefix.push("*".to_owned()),
                TokenTree::Group(found) => group = Some(found),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        match group {
            Some(group) => tree(&inside(group), prefix, paths),
            None if prefix.len() > depth => paths.push(prefix.clone()),
            None => {}
        }
        prefix.truncate(depth);
    }
}

/// Removes attributes, doc comments and items under `#[cfg(test)]`.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match (&tokens[at], tokens.get(at + 1)) {
            (hash, Some(TokenTree::Group(attribute)))
                if is_punct(hash, '#') && attribute.delimiter() == Delimiter::Bracket =>
            {
                at += 2;
                if is_test(attribute) {
                    let ends = |token: &TokenTree| is_punct(token, ';') || is_group(token, Delimiter::Brace);
                    at += tokens[at..].iter().position(ends).map_or(tokens.len() - at, |end| end + 1);
                }
            }
            (TokenTree::Group(group), _) => {
                let inside = without_tests(group.stream()).into_iter().collect();
                let mut cleaned = Group::new(group.delimiter(), inside);
                // The line in which a function ends comes from this span.
                cleaned.set_span(group.span());
                kept.push(TokenTree::Group(cleaned));
                at += 1;
            }
            (token, _) => {
                kept.push(token.clone());
                at += 1;
            }
        }
    }
    kept
}

fn is_test(attribute: &Group) -> bool {
    let text: String = attribute.stream().into_iter().map(|token| token.to_string()).collect();
    matches!(text.as_str(), "test" | "cfg(test)" | "cfg(doctest)" | "cfg(doc)")
}

fn inside(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

fn word(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_group(token: &TokenTree, wanted: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == wanted)
}

/// Whether the tokens at `at` are `::`.
fn is_path(tokens: &[TokenTree], at: usize) -> bool {
    [at, at + 1].iter().all(|index| tokens.get(*index).is_some_and(|token| is_punct(token, ':')))
}

/// Whether the tokens before `at` are `::`.
fn is_path_before(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_path(tokens, at - 2)
}

/// Whether a token is the `(crate)` of `pub(crate)`.
fn is_restriction(token: &TokenTree) -> bool {
    is_group(token, Delimiter::Parenthesis)
}
