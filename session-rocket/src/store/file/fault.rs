//! What the system's errors mean to a store of files.

use std::error::Error as _;
use std::io;

use crate::base::error::{Error, ErrorKind};

/// Says what could not be done, and where there was no room for it. The system's own text tells no path.
pub(super) fn cannot<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Error {
    move |error| {
        let error = error.into();
        let why = if is_full(&error) { ": there is no room left on its disk, or in this user's quota" } else { "" };
        Error::with_source(ErrorKind::Unavailable, format!("cannot {what} in the session directory{why}"), error)
    }
}

/// What is there, but is not what this store put there.
pub(super) fn foreign() -> Error {
    let context = "what is in the session directory in the place of a session is a link, no file, or another user's";
    Error::new(ErrorKind::Unavailable, context)
}

/// What to answer to a launch that met `error`: it is told apart whether waiting helps or another configuration.
pub(super) fn launch_kind(error: &Error) -> ErrorKind {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    if cause.is_some_and(is_full) { ErrorKind::Unavailable } else { ErrorKind::Config }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_full_disk_is_told_from_another_fault() {
        for full in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            let error = cannot("write")(full);
            assert_eq!((error.kind(), launch_kind(&error)), (ErrorKind::Unavailable, ErrorKind::Unavailable));
            assert!(error.to_string().contains("no room"), "{error}");
        }
        let error = cannot("write")(Errno::ACCESS);
        assert_eq!((error.kind(), launch_kind(&error)), (ErrorKind::Unavailable, ErrorKind::Config));
        assert_eq!(error.to_string(), "cannot write in the session directory");
    }
}
