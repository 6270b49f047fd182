use session_rocket::Session;

#[derive(Session)]
struct Student {
    visits: u32,
}

fn greet(session: &Session<Student>) {
    session.set_visits("one");
}

fn main() {}
