//! Prints the public API of a crate, one item on a line: `session-rocket-api RUSTDOC_JSON`.

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
            // The trait's own methods say what those of its implementations are.
            let is_implied =
                |item: &String| item.contains("'async_trait") && !item.contains("fn session_rocket::store::Store::");
            items.filter(|item| !is_implied(item)).for_each(|item| println!("{item}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cannot read {json}: {error}");
            ExitCode::FAILURE
        }
    }
}
