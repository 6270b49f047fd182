use super::*;

fn formatted(input: TokenStream) -> String {
    let expansion = derive(input);
    prettyplease::unparse(&syn::parse2(expansion).expect("the generated code parses"))
}

/// The struct of the guide.
#[test]
fn a_plain_struct() {
    insta::assert_snapshot!(formatted(quote! {
        /// What the school site remembers about a visitor.
        struct Student {
            /// The student's name.
            sname: Option<String>,
            #[session(default = "Guest")]
            username: String,
            num_visits: u32,
        }
    }));
}

/// A struct with every attribute, raw identifiers and visibilities.
#[test]
fn all_attributes() {
    insta::assert_snapshot!(formatted(quote! {
        #[session(config = "shop", scope = "former::Shop", crate = crate::renamed, fields = "Remembered")]
        pub(crate) struct Shop {
            #[session(identity)]
            pub account: Option<u64>,
            #[session(rename = "basket", alias = "cart_v1", alias = "cart_v2")]
            #[deprecated]
            pub(super) cart: Vec<Item>,
            #[session(default = Page::new(10))]
            r#type: Page,
            #[session(extra)]
            rest: serde_json::Map<String, serde_json::Value>,
        }
    }));
}

/// The code that is generated after a mistake.
#[test]
fn a_mistake() {
    insta::assert_snapshot!(formatted(quote! {
        pub struct Broken {
            #[session(renam = "x")]
            pub a: Option<R>,
            pub set_a: u8,
        }
    }));
}

fn messages(input: TokenStream) -> Vec<String> {
    let mut errors = Errors::new();
    let input = Input::from_syn(syn::parse2(input).expect("the item parses"), &mut errors);
    check(&input, &mut errors);
    errors.finish().into_iter().flatten().map(|error| error.to_string()).collect()
}

#[test]
fn all_mistakes_of_a_struct_are_reported_at_once() {
    let found = messages(quote! {
        #[session(confi = "a", config = "")]
        struct S<'a> {
            #[session(default, default, = 3, rename("x"), identity = true)]
            get: &'a str,
            #[session(extra)]
            _x: Option<Option<u8>>,
        }
    });
    assert_eq!(found.len(), 11, "{found:#?}");
}

/// A malformed attribute results in an error, and not in a panic of the macro.
#[test]
fn malformed_attributes_are_errors() {
    for attr in [
        quote!(session),
        quote!(session = 1),
        quote!(session()),
        quote!(session(,)),
        quote!(session(1)),
        quote!(session("default")),
        quote!(session(default =)),
        quote!(session(default = , rename)),
        quote!(session(default = 1 2)),
        quote!(session(default "x")),
        quote!(session(::a)),
        quote!(session[default]),
        quote!(session(rename = r#"x"# alias)),
        quote!(session(a::b = 2)),
        quote!(session(default == 2)),
    ] {
        for input in [quote!(struct S { #[#attr] f: u8 }), quote!(#[#attr] struct S { f: u8 })] {
            let text = attr.to_string();
            assert_eq!(messages(input).is_empty(), text == "session ()", "{text}");
        }
    }
}
