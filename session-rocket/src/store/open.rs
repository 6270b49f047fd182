//! Opens the store that a URL names.

use std::sync::Arc;

use humantime::format_duration;

use super::cached::CachedStore;
use super::cached::deferred::{DeferredStore, OpenFuture};
use super::scheme::{is_in_memory, opener};
use super::{Options, Store};
use crate::base::error::{Error, Result};

/// Opens the store that `options.url` names. If `options.cache` is set, puts that cache in front of the store.
///
/// If the cache cannot be reached, `open` logs a warning and succeeds. The store works without the cache until the cache
/// replies.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config) if the URL of the store or cache is invalid, or if this build does
/// not contain its back-end. [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) or
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
            "`cache` is in the memory of this process: if several processes use the same store, each of them may serve \
             sessions for up to {} after another process changed or ended them; use a cache that all processes share",
            format_duration(options.cache_ttl),
        );
    }
    let key_prefix = format!("{}cache:", options.key_prefix);
    let cache_options = Options { url: url.clone(), cache: None, key_prefix, ..options.clone() };
    let open = move || -> OpenFuture {
        let options = cache_options.clone();
        Box::pin(async move { open_backend("cache", &options).await })
    };
    let (cache, failure) = match open().await {
        Ok(cache) => (DeferredStore::from(cache), None),
        Err(error) if error.kind().is_transient() => (DeferredStore::new(open), Some(error)),
        Err(error) => return Err(error),
    };
    let cached = CachedStore::with_deferred(store, cache, options.cache_ttl, options.timeout, options.clock.clone());
    if let Some(error) = failure {
        cached.start_without_cache(&error);
    }
    Ok(Arc::new(cached))
}

/// Opens the back-end that `options.url` names. Error messages name `setting`, the setting with the URL.
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
