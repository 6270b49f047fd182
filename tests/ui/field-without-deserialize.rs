use serde::Serialize;
use session_rocket::Session;

#[derive(Clone, Serialize)]
struct Grade(u8);

#[derive(Session)]
struct Student {
    grade: Option<Grade>,
}

fn main() {}
