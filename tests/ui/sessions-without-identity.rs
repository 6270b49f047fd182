//! The sessions of a user, for a session type that has no identity.

use session_rocket::{Session, Sessions};

#[derive(Session)]
struct Visitor {
    num_visits: u32,
}

async fn end_all(sessions: Sessions<Visitor>) {
    sessions.revoke_all(&7).await.unwrap();
}

fn main() {}
