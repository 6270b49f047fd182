//! Collects the mistakes in a struct, so that the compiler reports all of them at once.

use std::fmt::Display;

use quote::ToTokens;

/// The mistakes in one struct.
///
/// Call [`Errors::finish`] to get the mistakes. In debug builds, dropping `Errors` without this call panics, so that no
/// mistake is lost.
pub struct Errors {
    found: Option<syn::Error>,
    finished: bool,
}

impl Errors {
    pub fn new() -> Self {
        Self { found: None, finished: false }
    }

    /// Adds a mistake at `tokens`, which should be the smallest part of the source that has to change.
    pub fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    pub fn add(&mut self, error: syn::Error) {
        match &mut self.found {
            Some(found) => found.combine(error),
            None => self.found = Some(error),
        }
    }

    /// Returns all mistakes as one error, or `None` if there are none.
    pub fn finish(mut self) -> Option<syn::Error> {
        self.finished = true;
        self.found.take()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        debug_assert!(self.finished || std::thread::panicking(), "mistakes were dropped unreported");
    }
}

#[cfg(test)]
mod tests;
