use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(extra)]
    rest: Vec<String>,
}

fn main() {}
