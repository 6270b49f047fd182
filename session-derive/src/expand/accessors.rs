//! The methods users call. Each is one call to the library.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Type, parse_quote};

use super::fields::static_ident;
use crate::model::{Field, Input};
use crate::names::ACCESSOR_PREFIXES;

/// What the accessors do.
#[derive(Clone, Copy, PartialEq)]
pub enum Bodies {
    /// Call the library.
    Calls,
    /// Do nothing: after a mistake they replace the accessors, and compile with any type of the field.
    StandIns,
}

/// The impl with the accessors of all fields.
pub fn accessors(input: &Input, bodies: Bodies) -> TokenStream {
    let ident = &input.fields_ident;
    let mut seen = HashSet::new();
    let methods = input.stored().enumerate().flat_map(|(index, field)| Accessor::all(index, field));
    // After a mistake, two methods may have one name. The mistake has been reported.
    let methods = methods.filter(|method| bodies == Bodies::Calls || seen.insert(method.ident().to_string()));
    let methods: Vec<_> = methods.map(|method| method.tokens(input, bodies)).collect();
    quote! {
        #[automatically_derived]
        impl #ident {
            #(#methods)*
        }
    }
}

/// One method to write.
struct Accessor<'a> {
    index: usize,
    field: &'a Field,
    prefix: &'static str,
}

/// What is between a method's name and its body.
struct Signature {
    attrs: TokenStream,
    generics: Option<Ident>,
    argument: TokenStream,
    returns: TokenStream,
    /// What the body passes besides the state.
    passes: TokenStream,
}

impl<'a> Accessor<'a> {
    fn all(index: usize, field: &'a Field) -> impl Iterator<Item = Self> {
        ACCESSOR_PREFIXES.iter().map(move |prefix| Self { index, field, prefix })
    }

    fn ident(&self) -> Ident {
        self.field.accessor(self.prefix)
    }

    fn tokens(&self, input: &Input, bodies: Bodies) -> TokenStream {
        let Field { vis, deprecated, .. } = self.field;
        let Signature { attrs, generics, argument, returns, passes } = self.signature();
        let (ident, docs) = (self.ident(), self.docs());
        let lifetimes = input.lifetimes();
        let generics = (generics.is_some() || !lifetimes.is_empty()).then(|| quote! { <#(#lifetimes,)* #generics> });
        let body = match bodies {
            Bodies::StandIns => quote! { loop {} },
            Bodies::Calls => {
                let description = static_ident(self.index, self.field);
                let verb = Ident::new(self.verb(), Span::call_site());
                quote! { #description.#verb(&self.__session_state #passes) }
            }
        };
        quote! {
            #docs
            #deprecated
            #attrs
            #vis fn #ident #generics(&self #argument) #returns {
                #body
            }
        }
    }

    /// The name of the library's own method for it.
    fn verb(&self) -> &'static str {
        if self.prefix.is_empty() { "get" } else { self.prefix.trim_end_matches('_') }
    }

    fn signature(&self) -> Signature {
        let Field { value, optional, .. } = self.field;
        let held: Type = if *optional { parse_quote!(::core::option::Option<#value>) } else { value.clone() };
        let looked_at: Type =
            if *optional { parse_quote!(::core::option::Option<&#value>) } else { parse_quote!(&#value) };
        let answer = answer(value);
        let tracked = quote! { #[track_caller] };
        let none = TokenStream::new;
        let simple = |attrs, returns| Signature { attrs, generics: None, argument: none(), returns, passes: none() };
        let stores = |returns| {
            let (argument, passes) = self.new_value();
            Signature { attrs: tracked.clone(), generics: None, argument, returns, passes }
        };
        match self.prefix {
            "set_" => stores(none()),
            "setdefault_" => stores(quote! { -> #value }),
            "update_" => Signature {
                argument: quote! {
                    , op: impl ::core::ops::FnOnce(&mut #held) -> #answer
                        + ::core::clone::Clone + ::core::marker::Send + 'static
                },
                returns: quote! { -> #answer },
                generics: Some(answer),
                passes: quote! { , op },
                attrs: tracked,
            },
            "with_" => Signature {
                argument: quote! { , look: impl ::core::ops::FnOnce(#looked_at) -> #answer },
                returns: quote! { -> #answer },
                generics: Some(answer),
                passes: quote! { , look },
                attrs: none(),
            },
            "has_" => simple(quote! { #[must_use] }, quote! { -> bool }),
            "delete_" => simple(tracked, quote! { -> ::core::option::Option<#value> }),
            _ => simple(quote! { #[must_use] }, quote! { -> #held }),
        }
    }

    /// The argument that takes a new value, and how it is passed on.
    fn new_value(&self) -> (TokenStream, TokenStream) {
        let value = &self.field.value;
        if self.field.is_string() {
            (quote! { , value: impl ::core::convert::Into<#value> }, quote! { , ::core::convert::Into::into(value) })
        } else {
            (quote! { , value: #value }, quote! { , value })
        }
    }

    /// The getter has the field's own docs, if there are any. All accessors are documented, because the user's crate may
    /// require it.
    fn docs(&self) -> TokenStream {
        let Field { docs, optional, .. } = self.field;
        let name = self.field.name();
        let text = match self.prefix {
            "" if !docs.is_empty() => return quote! { #(#docs)* },
            "" if *optional => format!("The stored `{name}`, or `None`."),
            "" => format!("The stored `{name}`, or its default."),
            "set_" => format!("Stores `{name}`."),
            "setdefault_" => format!("The stored `{name}`; if there is none, stores `value` and returns it."),
            "update_" => update_doc(&name, &self.field.ident),
            "with_" => format!("Looks at `{name}` without cloning it."),
            "has_" => format!("Whether `{name}` is stored."),
            _ => format!("Deletes `{name}` and returns what was stored."),
        };
        let effects = self.field.attrs.identity.as_ref().map_or_else(String::new, |_| self.effects(&name));
        let text = text + &effects;
        quote! { #[doc = #text] }
    }

    /// The further effects of a change of the identity.
    fn effects(&self, name: &str) -> String {
        match self.prefix {
            "set_" => format!(
                "\n\nThis logs a user in. Each call gives the session a new id, starts a new `max_lifetime` and makes \
                 earlier CSRF tokens invalid. The data that a visitor stored before the login stays. If another user \
                 is logged in, the session is emptied first: `{name}` and what is set after this call are all that is \
                 left."
            ),
            "setdefault_" => format!("\n\nStoring `value` logs a user in, as `set_{name}` does."),
            "update_" => {
                format!("\n\nThe change has the effects of `set_{name}` or, if it leaves `None`, of `delete_{name}`.")
            }
            "delete_" => "\n\nThis logs the user out: the session is emptied, gets a new id if anything is set \
                          afterwards, and earlier CSRF tokens become invalid."
                .to_owned(),
            _ => String::new(),
        }
    }
}

fn update_doc(name: &str, ident: &Ident) -> String {
    format!(
        "Changes `{name}` in place; no concurrent change is lost.\n\n\
         `op` may run again, as a clone, on a fresher value. What is returned is the result of its first run. It cannot \
         borrow: clone what it needs first, and move the clone into it.\n\n\
         ```text\n\
         let own = borrowed.to_owned();\n\
         session.update_{name}(move |{ident}| /* use `own` */);\n\
         ```"
    )
}

/// A name for the type that a closure returns: `R`, unless the field's type names an `R`.
fn answer(value: &Type) -> Ident {
    let name = if mentions_r(value.to_token_stream()) { "__SessionR" } else { "R" };
    Ident::new(name, Span::call_site())
}

fn mentions_r(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "R",
        TokenTree::Group(group) => mentions_r(group.stream()),
        _ => false,
    })
}
