use serde::{Deserialize, Serialize};
use session_rocket::Session;

#[derive(Clone, Serialize, Deserialize)]
struct Grade(u8);

#[derive(Session)]
struct Student {
    #[session(default = "first")]
    grade: Grade,
}

fn main() {}
