use super::*;

#[test]
fn a_token_is_valid_for_its_secret_only_and_every_token_differs() {
    let (one, other) = (CsrfSecret::random().unwrap(), CsrfSecret::random().unwrap());
    let tokens = [one.token().unwrap(), one.token().unwrap()];
    assert_ne!(tokens[0].as_str(), tokens[1].as_str());
    for token in &tokens {
        assert_eq!(token.as_str().len(), 43);
        assert!(one.verifies(token.as_str()) && !other.verifies(token.as_str()));
    }
    assert!(CsrfSecret::from_text(&one.to_text()) == Some(one));
}

#[test]
fn an_altered_token_is_invalid() {
    let secret = CsrfSecret::random().unwrap();
    let token = secret.token().unwrap().to_string();
    for position in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        assert!(!secret.verifies(std::str::from_utf8(&bytes).unwrap()), "character {position}");
    }
    for bad in ["", " ", "ä", &secret.to_text(), &token[..42], &format!("{token}="), &token.repeat(1000)] {
        assert!(!secret.verifies(bad), "{bad:?}");
    }
    assert!(!secret.verifies(CsrfToken::empty().as_str()));
}

#[test]
fn debug_hides_the_token() {
    let token = CsrfSecret::random().unwrap().token().unwrap();
    let shown = format!("{token:?}");
    assert!(!shown.contains(token.as_str()) && shown.contains("CsrfToken"), "{shown}");
}
