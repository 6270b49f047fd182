use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(alias = "email")]
    name: Option<String>,
    email: Option<String>,
}

fn greet(session: &Session<Student>) {
    session.set_name("rajat");
}

fn main() {}
