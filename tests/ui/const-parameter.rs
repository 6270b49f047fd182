use session_rocket::Session;

#[derive(Session)]
struct Student<const N: usize> {
    marks: Option<[u8; N]>,
}

fn main() {}
