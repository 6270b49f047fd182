use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(with = "a letter")]
    oral: u8,
    #[session(with = letter)]
    written: u8,
}

fn main() {}
