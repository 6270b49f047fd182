use serde::Deserialize;
use session_rocket::Session;

#[derive(Clone, Deserialize)]
struct Grade(u8);

#[derive(Session)]
struct Student {
    grade: Option<Grade>,
}

fn promote(session: &Session<Student>) {
    session.set_grade(Grade(1));
    session.update_grade(|grade| *grade = None);
}

fn main() {}
