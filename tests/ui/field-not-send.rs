use std::rc::Rc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use session_rocket::Session;

#[derive(Clone)]
struct Grade(Rc<u8>);

impl Serialize for Grade {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Grade {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer).map(|grade| Grade(Rc::new(grade)))
    }
}

#[derive(Session)]
struct Student {
    grade: Option<Grade>,
}

fn main() {}
