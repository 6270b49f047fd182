//! Opens the store that a URL names.

use std::sync::Arc;

use super::cached::CachedStore;
use super::cached::lazy::{LazyStore, Opening};
use super::scheme::{is_in_memory, opener};
use super::{Options, Store};
use crate::base::error::{Error, Result};

/// Opens the store that `options.url` names. If `options.cache` is set, puts that cache in front of the store.
///
/// A cache that cannot be reached is not an error: `open` logs a warning, and the store works without the cache until the
/// cache answers.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config) if no back-end of this build takes the URL of the store or cache; the
/// message says what to change. [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) or
/// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if the store cannot be reached.
pub async fn open(options: &Options) -> Result<Arc<dyn Store>> {
    with_cache(open_backend("store", options).await?, options).await
}

/// Puts the cache that `options` names, if any, in front of `store`.
pub(crate) async fn with_cache(store: Arc<dyn Store>, options: &Options) -> Result<Arc<dyn Store>> {
    let Some(url) = &options.cache else { return Ok(store) };
    if is_in_memory(url) {
        log::warn!(
            target: "session_rocket",
            "`cache` is in the memory of this process: if another process keeps sessions in the same store, each serves \
             for up to {:?} what the other has changed or ended",
            options.cache_ttl,
        );
    }
    let key_prefix = format!("{}cache:", options.key_prefix);
    let of_cache = Options { url: url.clone(), cache: None, key_prefix, ..options.clone() };
    let open = move || -> Opening {
        let options = of_cache.clone();
        Box::pin(async move { open_backend("cache", &options).await })
    };
    let (cache, failure) = match open().await {
        Ok(cache) => (LazyStore::from(cache), None),
        Err(error) if error.kind().is_transient() => (LazyStore::new(open), Some(error)),
        Err(error) => return Err(error),
    };
    let cached = CachedStore::with_lazy(store, cache, options.cache_ttl, options.timeout, options.clock.clone());
    if let Some(error) = failure {
        cached.begin_without_cache(&error);
    }
    Ok(Arc::new(cached))
}

/// Opens the back-end that `options.url` names. Errors name `setting`, the URL's name in the configuration.
async fn open_backend(setting: &str, options: &Options) -> Result<Arc<dyn Store>> {
    let opened = match opener(&options.url) {
        Ok(open) => open(options).await,
        Err(error) => Err(error),
    };
    opened.map_err(|error| {
        let context = format!("cannot open `{setting}`: {error}");
        Error::with_source(error.kind(), context, error)
    })
}

#[cfg(test)]
mod tests;
