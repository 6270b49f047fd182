use serde::{Deserialize, Serialize};
use session_rocket::Session;

#[derive(Serialize, Deserialize)]
struct Grade(u8);

#[derive(Session)]
struct Student {
    grade: Option<Grade>,
}

fn main() {}
