use serde::{Deserialize, Serialize};
use session_rocket::Session;

#[derive(Clone, Serialize, Deserialize)]
struct Grade(u8);

#[derive(Session)]
struct Student {
    grade: Grade,
}

fn main() {}
