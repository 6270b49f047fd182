//! The derive's output names nothing that the user's crate could have renamed, shadowed or switched off.
//!
//! There is no prelude here, the library has another name, and its own name is that of another crate: a path that is
//! not absolute, or not the one the user gave, does not compile.
#![no_implicit_prelude]

extern crate core as session_rocket;
extern crate session_rocket as renamed;

// The harness and the attributes of this test.
use ::core::prelude::v1::{derive, test};

/// By path, without a `use`; and the user's own type has the derive's name.
#[derive(renamed::Session)]
#[session(crate = renamed)]
struct Session {
    /// All kinds of field, `std`'s types by their full paths.
    name: ::core::option::Option<::std::string::String>,
    #[session(default = "Guest")]
    username: ::std::string::String,
    #[session(default = 7)]
    days: u8,
    visits: u32,
    #[session(identity)]
    number: ::std::option::Option<u64>,
    #[session(rename = "basket", alias = "cart")]
    things: ::std::vec::Vec<::std::string::String>,
    #[session(with = "as_text")]
    grade: ::core::option::Option<u8>,
    #[session(skip)]
    scratch: ::core::option::Option<u8>,
    #[session(extra)]
    rest: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}

/// As serde calls it: the value by reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
mod as_text {
    use ::core::result::Result;
    use ::serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        let text = <::std::string::String as Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(::serde::de::Error::custom)
    }
}

/// Names that the expansion uses too, as the user's own.
mod shadows {
    #![allow(dead_code, non_camel_case_types)]

    use ::core::prelude::v1::derive;

    pub struct Option;
    pub struct Some;
    pub struct String;
    pub struct Box;
    pub struct Into;
    pub struct Clone;
    pub struct Send;
    pub struct FnOnce;
    pub struct State;
    pub struct Field;
    pub struct SessionData;
    pub mod core {}
    pub mod std {}
    pub mod session_rocket {}

    /// The name of the closures' type parameter, as a field's type.
    #[derive(::core::clone::Clone, ::core::default::Default, ::serde::Serialize, ::serde::Deserialize)]
    pub struct R;

    #[derive(::renamed::Session)]
    #[session(crate = ::renamed, fields = "Accessors")]
    pub struct Visitor {
        pub r: R,
        pub op: ::core::option::Option<u8>,
        pub look: ::core::option::Option<u8>,
        pub value: ::core::option::Option<::std::string::String>,
        pub view: u8,
        pub edit: u8,
        pub request: u8,
        pub state: u8,
        pub new: u8,
    }

    pub fn named(fields: &Accessors) -> R {
        fields.update_r(|_| R)
    }
}

fn uses(session: &renamed::Session<Session>, visitor: &renamed::Session<shadows::Visitor>) {
    session.set_name("rajat");
    let _: ::core::option::Option<::std::string::String> = session.name();
    let _: ::std::string::String = session.username();
    session.update_things(|things| things.push(::core::convert::Into::into("pen")));
    let _: usize = session.with_rest(::serde_json::Map::len);
    session.set_grade(2);
    let _: ::core::option::Option<u8> = session.get().scratch;
    let _ = shadows::named(visitor);
    visitor.set_new(visitor.state());
}

#[test]
fn it_compiles() {
    let _ = uses;
    let data = <Session as renamed::SessionData>::NAME;
    ::std::assert_eq!(data, "Session");
}
