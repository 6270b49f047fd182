//! Collects mistakes, so that a user sees all of them in one compiler run.

use std::fmt::Display;

use quote::ToTokens;

/// Collects the mistakes found in one struct.
///
/// Must be ended with [`Errors::finish`]: in debug builds, dropping it unfinished panics, so that no stage can forget
/// a mistake it has found.
pub struct Errors {
    found: Option<syn::Error>,
    finished: bool,
}

impl Errors {
    pub fn new() -> Self {
        Self { found: None, finished: false }
    }

    /// Notes a mistake at `tokens`, the smallest piece of the user's source that has to change.
    pub fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    pub fn add(&mut self, error: syn::Error) {
        match &mut self.found {
            Some(found) => found.combine(error),
            None => self.found = Some(error),
        }
    }

    /// Ends the collection: all mistakes as one error, or `None` if there are none.
    pub fn finish(mut self) -> Option<syn::Error> {
        self.finished = true;
        self.found.take()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        debug_assert!(self.finished || std::thread::panicking(), "the mistakes found were dropped unreported");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_kept_in_order() {
        let mut errors = Errors::new();
        errors.at(quote::quote!(a), "first");
        errors.at(quote::quote!(b), "second");
        let messages: Vec<_> = errors.finish().into_iter().flatten().map(|error| error.to_string()).collect();
        assert_eq!(messages, ["first", "second"]);
    }

    #[test]
    #[should_panic = "dropped unreported"]
    #[cfg(debug_assertions)]
    fn an_unfinished_collector_panics() {
        drop(Errors::new());
    }
}
