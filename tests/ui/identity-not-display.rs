use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(identity)]
    number: Option<Vec<u8>>,
}

fn main() {}
