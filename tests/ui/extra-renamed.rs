use session_rocket::Session;

#[derive(Session)]
struct Student {
    #[session(extra, rename = "others")]
    rest: serde_json::Map<String, serde_json::Value>,
}

fn main() {}
