//! What is generated after a mistake: the same names and signatures without the code, so that the compiler reports the
//! mistake once, and not again at every use of the struct.

use proc_macro2::TokenStream;
use quote::quote;
use syn::GenericParam;

use super::accessors::{Bodies, accessors};
use super::fields::{fields_impl, fields_struct, wrap};
use super::guard::{guard_generics, guard_impls};
use crate::model::Input;

/// The mistakes, and the stand-ins.
pub fn expand(input: &Input, errors: &syn::Error) -> TokenStream {
    let errors = errors.to_compile_error();
    if input.fields_ident == input.ident {
        // A second struct of that name would cause a second error.
        return errors;
    }
    let accessors = has_only_lifetimes(input).then(|| accessors(input, Bodies::StandIns));
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

/// Whether all parameters are lifetimes. Accessors can repeat a struct's lifetimes, which are inferred, but not its types.
fn has_only_lifetimes(input: &Input) -> bool {
    input.generics.params.iter().all(|param| matches!(param, GenericParam::Lifetime(_)))
}
