use super::*;

#[test]
fn all_mistakes_are_kept_in_order() {
    let mut errors = Errors::new();
    errors.at(quote::quote!(a), "first");
    errors.at(quote::quote!(b), "second");
    let messages: Vec<_> = errors.finish().into_iter().flatten().map(|error| error.to_string()).collect();
    assert_eq!(messages, ["first", "second"]);
}

#[test]
#[should_panic = "dropped unreported"]
#[cfg(debug_assertions)]
fn an_unfinished_collector_panics() {
    drop(Errors::new());
}
