use session_rocket::Session;

#[derive(Session)]
struct Student {
    expiry: Option<u64>,
}

fn main() {}
