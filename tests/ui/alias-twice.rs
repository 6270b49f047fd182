use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(alias = "first_name")]
    name: Option<String>,
    #[session(alias = "first_name")]
    nickname: Option<String>,
}

fn greet(session: &Session<Student>) {
    session.set_name("rajat");
}

fn main() {}
