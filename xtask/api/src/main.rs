//! Prints the public API of a crate, one item per line: `session-rocket-api RUSTDOC_JSON`.

use std::env;
use std::process::ExitCode;

use public_api::Builder;

fn main() -> ExitCode {
    let Some(json) = env::args().nth(1) else {
        eprintln!("usage: session-rocket-api RUSTDOC_JSON");
        return ExitCode::FAILURE;
    };
    let api = Builder::from_rustdoc_json(&json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build();
    match api {
        Ok(api) => {
            let items = api.items().map(ToString::to_string);
            // The methods of an implementation repeat those of the trait `Store`.
            let is_repeated =
                |item: &String| item.contains("'async_trait") && !item.contains("fn session_rocket::store::Store::");
            items.filter(|item| !is_repeated(item)).for_each(|item| println!("{item}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cannot read {json}: {error}");
            ExitCode::FAILURE
        }
    }
}
