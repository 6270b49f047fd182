use session_rocket::Session;

#[derive(Session)]
#[session(fields = "Student")]
struct Student {
    name: Option<String>,
}

fn main() {}
