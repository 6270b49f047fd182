use session_rocket::Session;

#[derive(Session)]
struct Student<'a> {
    name: Option<&'a str>,
}

fn main() {}
