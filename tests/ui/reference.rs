use session_rocket::Session;

#[derive(Session)]
struct Student {
    name: &'static str,
    email: Option<&'static str>,
    grades: &'static [u8],
    friends: Vec<(u32, &'static u64)>,
}

fn greet(session: &Session<Student>) -> String {
    session.name().to_owned()
}

fn main() {}
