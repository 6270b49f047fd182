use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(secret)]
    name: Option<String>,
}

fn greet(session: &Session<Student>) {
    session.set_name("rajat");
}

fn main() {}
