use session_rocket::Session;

mod letter {
    use serde::Serializer;

    pub fn serialize<S: Serializer>(grade: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*grade)
    }
}

#[derive(Session)]
struct Student {
    #[session(with = "letter")]
    grade: u8,
}

fn main() {}
