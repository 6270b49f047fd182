//! Form fields: what is asked of a text, and what a page shows again when it was not given.

use std::collections::BTreeMap;

use rocket::form::error::ErrorKind;
use rocket::form::{self, Context, Error};
use serde::Serialize;

/// What stands in a form's fields, and what is wrong with it, by the fields' names.
#[derive(Default, Serialize)]
pub struct Shown {
    values: BTreeMap<String, String>,
    errors: BTreeMap<String, String>,
}

impl Shown {
    /// What was posted.
    pub fn posted(context: &Context<'_>) -> Self {
        let values =
            context.fields().filter_map(|name| Some((name.to_string(), context.field_value(name)?.to_owned())));
        let errors = context.errors().filter_map(|error| Some((error.name.as_ref()?.to_string(), message(error))));
        Self { values: values.collect(), errors: errors.collect() }
    }

    /// What was entered before.
    pub fn known<const N: usize>(values: [(&str, &str); N]) -> Self {
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { values: values.into(), errors: BTreeMap::new() }
    }
}

fn message(error: &Error<'_>) -> String {
    match error.kind {
        ErrorKind::Missing => "This is missing.".into(),
        ErrorKind::InvalidChoice { .. } => "Please choose.".into(),
        _ => error.to_string(),
    }
}

/// One line of text: something, at most `most` letters of it, and none that would garble the label on a parcel.
pub fn line<'v>(text: &str, most: usize) -> form::Result<'v, ()> {
    let problem = match text.trim() {
        "" => "Please fill this in.".to_owned(),
        long if long.chars().count() > most => format!("At most {most} letters, please."),
        garbled if garbled.chars().any(char::is_control) => "One line of text, please.".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::validation(problem).into())
}

/// A postcode of any country.
pub fn postcode<'v>(text: &str) -> form::Result<'v, ()> {
    line(text, 10)?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == ' ' || letter == '-';
    if text.trim().chars().all(fits) {
        return Ok(());
    }
    Err(Error::validation("Letters, digits, spaces and hyphens, please.").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_of_some_letters() {
        for good in ["x", " x ", "Ærøskøbing", &"ä".repeat(10)] {
            assert!(line(good, 10).is_ok(), "{good:?}");
        }
        for bad in ["", " ", "a\nb", "a\0b", &"ä".repeat(11)] {
            assert!(line(bad, 10).is_err(), "{bad:?}");
        }
        assert!(postcode("SW1A 1AA").is_ok() && postcode("<1>").is_err());
    }
}
