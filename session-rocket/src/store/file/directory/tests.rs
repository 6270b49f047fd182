//! URLs that name a directory.

use super::*;

#[test]
fn a_url_names_a_directory() {
    let here = std::env::current_dir().unwrap();
    for (url, path) in [
        ("file:///var/lib/site/sessions", PathBuf::from("/var/lib/site/sessions")),
        ("file:/var/sessions/", PathBuf::from("/var/sessions")),
        ("FILE:///var/sessions/.", PathBuf::from("/var/sessions")),
        ("file:sessions", here.join("sessions")),
        ("file://sessions", here.join("sessions")),
        ("file:./a b%20c/", here.join("a b%20c")),
    ] {
        assert_eq!(path_of(url).unwrap(), path, "{url}");
    }
    for url in ["file:", "file://", "file:x?mode=rw", "file:x#y", "file:x\0"] {
        assert_eq!(path_of(url).unwrap_err().kind(), ErrorKind::Config, "{url}");
    }
}
