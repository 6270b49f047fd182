use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[serde(skip)]
    secret: Option<String>,
}

fn main() {}
