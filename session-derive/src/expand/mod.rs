//! Generates the code. Only this folder uses `quote`.

mod accessors;
mod fallback;
mod fields;
mod guard;

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::check::check;
use crate::errors::Errors;
use crate::model::Input;

/// Runs the derive: parses the struct, checks it, and generates the code.
pub fn derive(input: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(input) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::new();
    let input = Input::from_syn(input, &mut errors);
    check(&input, &mut errors);
    match errors.finish() {
        None => expand(&input),
        Some(errors) => fallback::expand(&input, &errors),
    }
}

fn expand(input: &Input) -> TokenStream {
    let fields_struct = fields::fields_struct(input);
    let statics = fields::statics(input);
    let accessors = accessors::accessors(input, accessors::BodyKind::Calls);
    let data = fields::data_impls(input);
    let identity = fields::identity_impl(input);
    let guard = guard::guard_impls(input);
    fields::wrap(input, &fields_struct, &quote! { #statics #accessors #data #identity #guard })
}

#[cfg(test)]
mod tests;
