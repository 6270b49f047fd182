use session_rocket::Session;

#[derive(Session)]
struct Student {
    name: Option<Option<String>>,
}

fn main() {}
