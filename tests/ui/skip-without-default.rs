use session_rocket::Session;

struct Grade(u8);

#[derive(Session)]
struct Student {
    #[session(skip)]
    grade: Grade,
}

fn main() {}
