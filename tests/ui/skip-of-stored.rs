use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(skip, rename = "n", alias = "full_name")]
    name: Option<String>,
    #[session(skip, identity)]
    user: Option<u64>,
    #[session(with = "letter", skip)]
    grade: u8,
}

fn main() {}
