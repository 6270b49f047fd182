use session_rocket::Session;

#[derive(Session)]
#[session(rename = "pupil")]
struct Student {
    name: Option<String>,
}

fn greet(session: &Session<Student>) {
    session.set_name("rajat");
}

fn main() {}
