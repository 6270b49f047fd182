//! The domains under which anybody can register a name, such as `com`, `co.uk` and `github.io`.

use psl::Psl;

/// Whether a domain is on the list of public suffixes, for which browsers accept no cookies.
///
/// A domain that is not on the list, such as `localhost` or a name in an intranet, is not a public suffix.
pub(super) fn is_public_suffix(domain: &str) -> bool {
    // The list is in lower case.
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    psl::List
        .suffix(domain.as_bytes())
        .is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == domain.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::is_public_suffix;

    #[test]
    fn only_domains_on_the_list_are_public_suffixes() {
        for domain in ["com", "co.uk", "Co.UK", "github.io", "s3.amazonaws.com", "co.jp.", "any.ck", "xn--p1ai"] {
            assert!(is_public_suffix(domain), "{domain}");
        }
        for domain in ["example.com", "shop.co.uk", "ada.github.io", "www.ck", "localhost", "intranet", "shop.test", ""]
        {
            assert!(!is_public_suffix(domain), "{domain}");
        }
    }
}
