use session_rocket::Session;

#[derive(Session)]
struct Student(Option<String>, u32);

fn visit(session: &Session<Student>) -> Student {
    session.get()
}

fn main() {}
