use session_rocket::Session;

#[derive(Session)]
struct Student {
    id: Option<u64>,
}

fn main() {}
