use session_rocket::Session;

#[derive(Session)]
struct Student {
    name: Option<String>,
    #[session(rename = "name")]
    nickname: Option<String>,
}

fn greet(session: &Session<Student>) {
    session.set_name("rajat");
}

fn main() {}
