use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(default = 1.5)]
    visits: u32,
}

fn main() {}
