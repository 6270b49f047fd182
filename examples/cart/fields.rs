//! Validation of form fields, and the values and errors that a page shows.

use std::collections::BTreeMap;

use rocket::form::error::ErrorKind;
use rocket::form::{self, Context, Error};
use serde::Serialize;

/// The values and errors of a form, by field name.
#[derive(Default, Serialize)]
pub struct FormState {
    values: BTreeMap<String, String>,
    errors: BTreeMap<String, String>,
}

impl FormState {
    pub fn posted(context: &Context<'_>) -> Self {
        let values =
            context.fields().filter_map(|name| Some((name.to_string(), context.field_value(name)?.to_owned())));
        let errors = context.errors().filter_map(|error| Some((error.name.as_ref()?.to_string(), message(error))));
        Self { values: values.collect(), errors: errors.collect() }
    }

    pub fn valid<const N: usize>(values: [(&str, &str); N]) -> Self {
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { values: values.into(), errors: BTreeMap::new() }
    }
}

fn message(error: &Error<'_>) -> String {
    match error.kind {
        ErrorKind::Missing => "This field is missing.".into(),
        ErrorKind::InvalidChoice { .. } => "Please choose an option.".into(),
        _ => error.to_string(),
    }
}

/// Validates one line of text: not empty, at most `max` characters, no control characters.
pub fn line<'v>(text: &str, max: usize) -> form::Result<'v, ()> {
    let problem = match text.trim() {
        "" => "Please fill this in.".to_owned(),
        text if text.chars().count() > max => format!("Please enter at most {max} characters."),
        text if text.chars().any(char::is_control) => "Please enter one line of text.".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::validation(problem).into())
}

/// Validates a postcode of any country.
pub fn postcode<'v>(text: &str) -> form::Result<'v, ()> {
    line(text, 10)?;
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == ' ' || letter == '-';
    if text.trim().chars().all(is_allowed) {
        return Ok(());
    }
    Err(Error::validation("Please enter only letters, digits, spaces and hyphens.").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_not_empty_not_too_long_and_has_no_control_characters() {
        for valid in ["x", " x ", "Ærøskøbing", &"ä".repeat(10)] {
            assert!(line(valid, 10).is_ok(), "{valid:?}");
        }
        for invalid in ["", " ", "a\nb", "a\0b", &"ä".repeat(11)] {
            assert!(line(invalid, 10).is_err(), "{invalid:?}");
        }
        assert!(postcode("SW1A 1AA").is_ok() && postcode("<1>").is_err());
    }
}
