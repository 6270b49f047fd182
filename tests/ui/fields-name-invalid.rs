use session_rocket::Session;

#[derive(Session)]
#[session(fields = "my fields")]
struct Student {
    name: Option<String>,
}

fn greet(session: &Session<Student>) {
    session.set_name("rajat");
}

fn main() {}
