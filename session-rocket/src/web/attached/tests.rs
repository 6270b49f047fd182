use super::*;

#[test]
fn the_status_of_an_error_depends_on_its_kind() {
    for (kind, code) in [
        (ErrorKind::Encode, 422),
        (ErrorKind::TooLarge, 422),
        (ErrorKind::AmbiguousCredentials, 400),
        (ErrorKind::Ended, 409),
        (ErrorKind::Withheld, 409),
        (ErrorKind::Unavailable, 503),
        (ErrorKind::Timeout, 503),
        (ErrorKind::Uncertain, 503),
        (ErrorKind::Random, 503),
        (ErrorKind::Panicked, 500),
        (ErrorKind::TooLate, 500),
        (ErrorKind::Unsupported, 500),
    ] {
        assert_eq!(status(&Error::new(kind, "a reason")).code, code, "{kind:?}");
    }
}
