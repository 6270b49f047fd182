use super::*;

fn field(ty: Type) -> Field {
    let mut errors = Errors::new();
    let input = Input::from_syn(parse_quote!(struct S { r#type: #ty }), &mut errors);
    assert!(errors.finish().is_none());
    input.fields.into_iter().next().expect("the struct has one field")
}

#[test]
fn option_is_known_by_its_std_paths() {
    for ty in ["Option<u8>", "std::option::Option<u8>", "::core::option::Option<u8>", "(Option<u8>)"] {
        assert!(field(syn::parse_str(ty).expect(ty)).optional, "{ty}");
    }
    for ty in ["Option", "Maybe<u8>", "my::Option<u8>", "Option<u8, u8>", "<u8 as A>::Option<u8>"] {
        assert!(!field(syn::parse_str(ty).expect(ty)).optional, "{ty}");
    }
}

#[test]
fn string_is_known_by_its_std_paths() {
    for ty in ["String", "::std::string::String", "alloc::string::String", "Option<String>", "Option<(String)>"] {
        assert!(field(syn::parse_str(ty).expect(ty)).is_string(), "{ty}");
    }
    for ty in ["str::String", "String<u8>", "Box<str>", "&'static str"] {
        assert!(!field(syn::parse_str(ty).expect(ty)).is_string(), "{ty}");
    }
}

#[test]
fn invisible_groups_do_not_hide_a_type() {
    let inner: Type = parse_quote!(String);
    let inner = Type::Group(syn::TypeGroup { group_token: Default::default(), elem: Box::new(inner) });
    let whole: Type = parse_quote!(Option<#inner>);
    let whole = Type::Group(syn::TypeGroup { group_token: Default::default(), elem: Box::new(whole) });
    let field = field(whole);
    assert!(field.optional && field.is_string());
}

#[test]
fn raw_identifiers_are_raw_in_the_getter_only() {
    let field = field(parse_quote!(u8));
    assert_eq!(field.stored_name(), "type");
    assert_eq!(field.accessor("").to_string(), "r#type");
    assert_eq!(field.accessor("set_").to_string(), "set_type");
}
