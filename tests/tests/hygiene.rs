//! The code that the derive generates does not depend on names that the user's crate can rename, shadow or disable.
//!
//! This crate has no prelude, the library has another name, and the library's usual name belongs to another crate. So
//! generated code compiles only if its paths are absolute and begin with the path that the user gave.
#![no_implicit_prelude]

extern crate core as session_rocket;
extern crate session_rocket as renamed;

// Needed by the test harness and the attributes of this test.
use ::core::prelude::v1::{derive, test};

/// Uses the derive by its path. The user's own type has the same name as the derive.
#[derive(renamed::Session)]
#[session(crate = renamed)]
struct Session {
    /// The struct has all kinds of fields, and names the types of `std` by their full paths.
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

/// serde passes the value by reference.
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

/// The user defines names that the generated code also uses.
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

    /// A field type with the name of the type parameter of generated methods.
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

    pub fn reset_r(fields: &Accessors) -> R {
        fields.update_r(|_| R)
    }
}

fn use_accessors(session: &renamed::Session<Session>, visitor: &renamed::Session<shadows::Visitor>) {
    session.set_name("rajat");
    let _: ::core::option::Option<::std::string::String> = session.name();
    let _: ::std::string::String = session.username();
    session.update_things(|things| things.push(::core::convert::Into::into("pen")));
    let _: usize = session.with_rest(::serde_json::Map::len);
    session.set_grade(2);
    let _: ::core::option::Option<u8> = session.get().scratch;
    let _ = shadows::reset_r(visitor);
    visitor.set_new(visitor.state());
}

#[test]
fn the_generated_code_compiles() {
    let _ = use_accessors;
    let name = <Session as renamed::SessionData>::NAME;
    ::std::assert_eq!(name, "Session");
}
