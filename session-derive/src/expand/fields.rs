//! The static descriptions of the fields, and the implementations that give them to the library.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Expr, Ident};

use crate::attr::string_literal;
use crate::model::{Field, Input};

/// Generates the struct that has the accessors.
pub fn fields_struct(input: &Input) -> TokenStream {
    let Input { ident, vis, krate, fields_ident, .. } = input;
    let doc = format!("The accessors of the fields of [`{ident}`]. `Session<{ident}>` dereferences to this struct.");
    quote! {
        #[doc = #doc]
        #[allow(missing_debug_implementations)]
        #vis struct #fields_ident {
            __session_state: #krate::__private::State,
        }
    }
}

/// Puts `items` into a `const`, in which `__session` is the library's module `__private`. `fields_struct` stays outside
/// the `const`, so that users can name the struct.
pub fn wrap(input: &Input, fields_struct: &TokenStream, items: &TokenStream) -> TokenStream {
    let krate = &input.krate;
    quote! {
        #fields_struct

        // Lints are off, because this code contains the user's names and types, but users cannot change it.
        #[allow(dead_code, deprecated, private_interfaces, unused_qualifications, clippy::all, clippy::pedantic)]
        const _: () = {
            use #krate::__private as __session;
            #items
        };
    }
}

/// Returns the name of the `static` of a field. The index distinguishes the fields `a` and `A`.
pub fn static_ident(index: usize, field: &Field) -> Ident {
    format_ident!("__SESSION_{index}_{}", field.name().to_ascii_uppercase(), span = Span::call_site())
}

/// Generates one `static` for each field, and one for the schema.
pub fn statics(input: &Input) -> TokenStream {
    let statics = input.stored().enumerate().map(|(index, field)| {
        let with = encoding(index, field);
        let ident = static_ident(index, field);
        let value = &field.value;
        let kind = kind(field);
        let description = description(index, field);
        quote! {
            #with
            static #ident: __session::Field<#value, __session::#kind> = #description;
        }
    });
    let name = input.ident.unraw().to_string();
    let idents = input.stored().enumerate().map(|(index, field)| static_ident(index, field));
    quote! {
        #(#statics)*
        static __SESSION_SCHEMA: __session::Schema = __session::Schema::new(#name, &[#(&#idents),*]);
    }
}

fn kind(field: &Field) -> Ident {
    Ident::new(if field.optional { "Optional" } else { "Defaulted" }, Span::call_site())
}

/// Generates the expression that creates the description of a field.
///
/// Only this expression requires the bounds on the field's type. The expression has the span of the type, so that the
/// compiler reports a missing bound at the type.
fn description(index: usize, field: &Field) -> TokenStream {
    let (value, kind, name) = (&field.value, kind(field), field.name());
    let at = value.span();
    let path = quote_spanned! {at=> __session::Field::<#value, __session::#kind> };
    let with = field.attrs.with.as_ref().map(|_| encoding_ident(index));
    let mut created = if field.optional {
        match with {
            Some(with) => quote_spanned! {at=> #path::optional_with::<#with>(#index, #name) },
            None => quote_spanned! {at=> #path::optional(#index, #name) },
        }
    } else if field.attrs.extra.is_some() {
        quote_spanned! {at=> #path::extra(#index, #name) }
    } else {
        let default = default(field);
        match with {
            Some(with) => quote_spanned! {at=> #path::defaulted_with::<#with>(#index, #name, #default) },
            None => quote_spanned! {at=> #path::defaulted(#index, #name, #default) },
        }
    };
    if let Some(rename) = &field.attrs.rename {
        created.extend(quote! { .rename(#rename) });
    }
    let aliases = &field.attrs.aliases;
    if !aliases.is_empty() {
        created.extend(quote! { .alias(&[#(#aliases),*]) });
    }
    if let Some(identity) = &field.attrs.identity {
        created.extend(quote_spanned! {identity.span()=> .identity() });
    }
    created
}

/// Returns the name of the type that implements `Encoding` for `#[session(with = "…")]`.
fn encoding_ident(index: usize) -> Ident {
    format_ident!("__SessionEncoding{index}", span = Span::call_site())
}

/// Generates the type that calls the functions of the module in `#[session(with = "…")]`.
fn encoding(index: usize, field: &Field) -> Option<TokenStream> {
    let module = field.attrs.with.as_ref()?;
    let (ident, value) = (encoding_ident(index), &field.value);
    let serialize = quote_spanned! {module.span()=> #module::serialize(value, serializer) };
    let deserialize = quote_spanned! {module.span()=> #module::deserialize(deserializer) };
    Some(quote! {
        struct #ident;

        impl __session::Encoding<#value> for #ident {
            fn serialize<__SessionS: __session::Serializer>(
                value: &#value,
                serializer: __SessionS,
            ) -> ::core::result::Result<__SessionS::Ok, __SessionS::Error> {
                #serialize
            }

            fn deserialize<'__session_de, __SessionD: __session::Deserializer<'__session_de>>(
                deserializer: __SessionD,
            ) -> ::core::result::Result<#value, __SessionD::Error> {
                #deserialize
            }
        }
    })
}

/// Generates the function that returns the default of a field.
fn default(field: &Field) -> TokenStream {
    let value = &field.value;
    match field.attrs.default.as_ref().and_then(|default| default.value.as_ref()) {
        Some(expr) => {
            let expr = default_value(field, expr);
            quote! { || -> #value { #expr } }
        }
        None => quote_spanned! {value.span()=> <#value as ::core::default::Default>::default },
    }
}

/// Generates the expression of a default.
///
/// A string literal is converted with `into`, unless the field has a primitive type. No string converts into a primitive
/// type, and rustc's error is clearer if the literal is not converted.
fn default_value(field: &Field, expr: &Expr) -> TokenStream {
    match string_literal(expr) {
        Some(text) if !field.is_primitive() => quote_spanned! {text.span()=> ::core::convert::Into::into(#text) },
        _ => expr.to_token_stream(),
    }
}

/// Generates the implementations that connect the session struct and the generated struct with the library.
pub fn data_impls(input: &Input) -> TokenStream {
    let Input { ident, fields_ident, config, .. } = input;
    let name = ident.unraw().to_string();
    let fields: Vec<_> = input.stored().map(|field| &field.ident).collect();
    let statics: Vec<_> = input.stored().enumerate().map(|(index, field)| static_ident(index, field)).collect();
    let skipped = input.fields.iter().filter(|field| field.attrs.skip.is_some()).map(|field| {
        let (ident, default) = (&field.ident, default(field));
        quote! { #ident: (#default)() }
    });
    let fields_impl = fields_impl(fields_ident);
    let scope = scope(input);
    quote! {
        #fields_impl

        #[automatically_derived]
        impl __session::SessionData for #ident {
            type Fields = #fields_ident;
            const NAME: &'static str = #name;
            const CONFIG: &'static str = #config;
            const SCOPE: &'static str = #scope;

            fn schema() -> &'static __session::Schema {
                &__SESSION_SCHEMA
            }

            #[allow(unused_variables)]
            fn snapshot(view: &mut __session::View) -> Self {
                Self { #(#fields: #statics.read(view),)* #(#skipped),* }
            }

            #[allow(unused_variables)]
            fn replace(self, edit: &mut __session::Edit) {
                #(#statics.write(edit, self.#fields);)*
            }
        }
    }
}

/// Generates the implementation of `SessionIdentity`, if the struct has an identity field.
pub fn identity_impl(input: &Input) -> Option<TokenStream> {
    let (index, field) = input.stored().enumerate().find(|(_, field)| field.attrs.identity.is_some())?;
    let (ident, value, description) = (&input.ident, &field.value, static_ident(index, field));
    Some(quote! {
        #[automatically_derived]
        impl __session::SessionIdentity for #ident {
            type Identity = #value;

            fn identity_field() -> &'static __session::Field<Self::Identity, __session::Optional> {
                &#description
            }
        }
    })
}

/// Generates the scope: the value of `#[session(scope = "…")]`, or the names of the package and the struct.
fn scope(input: &Input) -> TokenStream {
    let name = input.ident.unraw().to_string();
    match &input.scope {
        Some(scope) => quote! { #scope },
        None => quote! { ::core::concat!(::core::env!("CARGO_PKG_NAME"), "::", #name) },
    }
}

pub fn fields_impl(fields_ident: &Ident) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl __session::SessionFields for #fields_ident {
            fn new(state: __session::State) -> Self {
                Self { __session_state: state }
            }

            fn state(&self) -> &__session::State {
                &self.__session_state
            }
        }
    }
}
