use session_rocket::Session;

#[derive(Clone, Default)]
struct Grade(u8);

#[derive(Session)]
struct Student {
    grade: Grade,
}

fn main() {}
