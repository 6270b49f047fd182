use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(identity)]
    number: Option<u64>,
    #[session(identity)]
    email: Option<String>,
}

fn main() {}
