use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[sesion(rename = "full_name")]
    name: Option<String>,
}

fn main() {}
