use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(identity)]
    number: u64,
}

fn main() {}
