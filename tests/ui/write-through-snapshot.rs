use rocket::get;
use session_rocket::Session;

#[derive(Session)]
struct Student {
    visits: u32,
}

#[get("/")]
fn visit(student: &Student) {
    student.visits += 1;
}

fn main() {}
