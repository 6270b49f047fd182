use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use session_rocket::Session;

#[derive(Default, Serialize, Deserialize, Session)]
#[serde(rename_all = "camelCase")]
struct Student {
    #[serde(rename = "n", alias = "full_name")]
    name: Option<String>,
    #[serde(rename(serialize = "e"))]
    email: Option<String>,
    #[serde(default)]
    visits: u32,
    #[serde(default = "Vec::new")]
    courses: Vec<String>,
    #[serde(skip)]
    secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nickname: Option<String>,
    #[serde(with = "my::module")]
    grade: u8,
    #[serde(serialize_with = "my::module::serialize")]
    exam: u8,
    #[serde(flatten)]
    rest: Map<String, Value>,
    #[serde(bound = "")]
    tags: Vec<String>,
}

mod my {
    pub mod module {
        use serde::{Deserialize, Deserializer, Serializer};

        pub fn serialize<S: Serializer>(grade: &u8, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u8(*grade)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
            u8::deserialize(deserializer)
        }
    }
}

fn main() {}
