use session_rocket::Session;

#[derive(Session)]
struct Student {
    _name: Option<String>,
}

fn main() {}
