//! The request guard `&T`, a read-only snapshot.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::GenericParam;

use crate::model::Input;

/// Generates the guard for one struct. The orphan rule prevents the library from implementing the guard for every `T`.
pub fn guard_impls(input: &Input) -> TokenStream {
    let ident = &input.ident;
    let (_, ty_generics, _) = input.generics.split_for_impl();
    let (params, bounds) = guard_generics(input);
    quote! {
        #[automatically_derived]
        impl<'__session_r, #params> __session::FromRequest<'__session_r> for &'__session_r #ident #ty_generics #bounds {
            type Error = __session::Error;

            // This is the signature that `#[rocket::async_trait]` generates from an `async fn`.
            fn from_request<'__session_request, '__session_future>(
                request: &'__session_r __session::Request<'__session_request>,
            ) -> ::core::pin::Pin<::std::boxed::Box<
                dyn ::core::future::Future<Output = __session::Outcome<Self, Self::Error>>
                    + ::core::marker::Send
                    + '__session_future,
            >>
            where
                '__session_r: '__session_future,
                '__session_request: '__session_future,
                Self: '__session_future,
            {
                __session::snapshot::<#ident #ty_generics>(request)
            }
        }

        #[automatically_derived]
        impl<#params> __session::Sentinel for &#ident #ty_generics #bounds {
            fn abort(rocket: &__session::Rocket<__session::Ignite>) -> bool {
                __session::missing_fairing::<#ident #ty_generics>(rocket)
            }
        }
    }
}

/// Generates the generic parameters of the implementations, and a `where` clause. Both are empty unless the struct is
/// generic, which is a mistake.
pub fn guard_generics(input: &Input) -> (TokenStream, TokenStream) {
    if input.generics.params.is_empty() {
        return (TokenStream::new(), TokenStream::new());
    }
    let ident = &input.ident;
    let (_, ty_generics, _) = input.generics.split_for_impl();
    let params = input.generics.params.iter().map(without_default);
    (
        quote! { #(#params),* },
        quote! { where #ident #ty_generics: ::core::marker::Sized + ::core::marker::Send + ::core::marker::Sync + 'static },
    )
}

/// Returns a parameter as an `impl` declares it: `T: Bound` for `T: Bound = Default`.
fn without_default(param: &GenericParam) -> TokenStream {
    let mut param = param.clone();
    match &mut param {
        GenericParam::Type(param) => {
            param.eq_token = None;
            param.default = None;
        }
        GenericParam::Const(param) => {
            param.eq_token = None;
            param.default = None;
        }
        GenericParam::Lifetime(_) => {}
    }
    param.into_token_stream()
}
