use session_rocket::Session;

#[derive(Session)]
struct Student<T> {
    name: Option<T>,
}

fn main() {}
