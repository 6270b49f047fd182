use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(extra)]
    rest: serde_json::Map<String, serde_json::Value>,
    #[session(extra)]
    more: serde_json::Map<String, serde_json::Value>,
}

fn main() {}
