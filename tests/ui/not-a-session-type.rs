use session_rocket::Session;

struct Student {
    name: Option<String>,
}

fn greet(session: &Session<Student>) -> Student {
    session.get()
}

fn main() {}
