use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(default = "one")]
    visits: u32,
}

fn main() {}
