use session_rocket::Session;

#[derive(Session)]
struct Visitor {
    name: Option<String>,
}

/// Stands for the pool of another version of sqlx, which is a different type of the same name.
struct PgPool;

fn main() {
    let _ = Session::<Visitor>::fairing().pool(PgPool);
}
