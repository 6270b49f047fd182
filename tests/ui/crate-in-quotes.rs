use session_rocket::Session;

#[derive(Session)]
#[session(crate = "session_rocket")]
struct Student {
    name: Option<String>,
}

fn greet(session: &Session<Student>) {
    session.set_name("rajat");
}

fn main() {}
