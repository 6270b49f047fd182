use session_rocket::Session;

#[derive(Session)]
enum Visitor {
    Guest,
    Student { name: String },
}

fn visit(session: &Session<Visitor>) -> Visitor {
    session.get()
}

fn main() {}
