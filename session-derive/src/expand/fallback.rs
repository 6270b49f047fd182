//! The code that is generated if the struct has a mistake. It has the same names and signatures as the usual code, but
//! its function bodies only loop. So the compiler reports the mistake, but no further errors where the struct is used.

use proc_macro2::TokenStream;
use quote::quote;
use syn::GenericParam;

use super::accessors::{BodyKind, accessors};
use super::fields::{fields_impl, fields_struct, wrap};
use super::guard::{guard_generics, guard_impls};
use crate::model::Input;

/// Returns the errors and the code with looping bodies.
pub fn expand(input: &Input, errors: &syn::Error) -> TokenStream {
    let errors = errors.to_compile_error();
    if input.fields_ident == input.ident {
        // A second struct with the same name would cause another error.
        return errors;
    }
    let accessors = has_only_lifetimes(input).then(|| accessors(input, BodyKind::Loops));
    let fields = fields_impl(&input.fields_ident);
    let (data, guard) = (data_impl(input), guard_impls(input));
    let code = wrap(input, &fields_struct(input), &quote! { #accessors #fields #data #guard });
    quote! { #errors #code }
}

fn data_impl(input: &Input) -> TokenStream {
    let (ident, fields_ident) = (&input.ident, &input.fields_ident);
    let (_, ty_generics, _) = input.generics.split_for_impl();
    let (params, bounds) = guard_generics(input);
    quote! {
        #[allow(unused_variables)]
        #[automatically_derived]
        impl<#params> __session::SessionData for #ident #ty_generics #bounds {
            type Fields = #fields_ident;
            const NAME: &'static str = "";
            const CONFIG: &'static str = "";
            const SCOPE: &'static str = "";

            fn schema() -> &'static __session::Schema {
                loop {}
            }

            fn snapshot(view: &mut __session::View) -> Self {
                loop {}
            }

            fn replace(self, edit: &mut __session::Edit) {
                loop {}
            }
        }
    }
}

/// Whether all generic parameters are lifetimes. Accessors can declare the lifetimes of the struct, because the
/// compiler infers them, but they cannot declare its type parameters.
fn has_only_lifetimes(input: &Input) -> bool {
    input.generics.params.iter().all(|param| matches!(param, GenericParam::Lifetime(_)))
}
