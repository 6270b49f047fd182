use session_rocket::Session;

#[derive(Session)]
struct Visitor {
    name: Option<String>,
}

/// Another version of sqlx has a pool of the same name, which is another type.
struct PgPool;

fn main() {
    let _ = Session::<Visitor>::fairing().pool(PgPool);
}
