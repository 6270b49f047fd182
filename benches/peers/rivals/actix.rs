//! The site on `actix-session` and Actix Web: `actix PORT STORE`. STORE is a URL of Redis.

#[path = "../allocator.rs"]
mod allocator;
#[path = "../barrier.rs"]
mod barrier;

use std::env;
use std::net::Ipv4Addr;

use actix_session::config::PersistentSession;
use actix_session::storage::RedisSessionStore;
use actix_session::{Session, SessionGetError, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::cookie::time::Duration;
use actix_web::web::Path;
use actix_web::{App, HttpServer, get};

const WORKERS: usize = 2;
const NUMBER: &str = "num_visits";
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[get("/plain")]
async fn plain() -> &'static str {
    "hello"
}

#[get("/get")]
async fn read(session: Session) -> Result<String, SessionGetError> {
    Ok(session.get::<u32>(NUMBER)?.unwrap_or_default().to_string())
}

#[get("/count")]
async fn count(session: Session) -> Result<String, actix_web::Error> {
    let number = session.get::<u32>(NUMBER)?.unwrap_or_default() + 1;
    session.insert(NUMBER, number)?;
    Ok(number.to_string())
}

#[get("/logout")]
async fn logout(session: Session) -> &'static str {
    session.purge();
    ""
}

#[get("/slow/{port}")]
async fn slow(session: Session, port: Path<u16>) -> Result<String, actix_web::Error> {
    let number = session.get::<u32>(NUMBER)?.unwrap_or_default() + 1;
    barrier::wait(*port).await;
    session.insert(NUMBER, number)?;
    Ok(number.to_string())
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [port, store] = args.as_slice() else { panic!("usage: actix PORT STORE") };
    let port: u16 = port.parse().expect("PORT must be a number");
    let store = RedisSessionStore::new(store).await.expect("cannot open STORE");
    HttpServer::new(move || {
        let lifecycle = PersistentSession::default().session_ttl(Duration::days(14));
        let sessions = SessionMiddleware::builder(store.clone(), Key::from(SECRET.as_bytes()));
        let sessions = sessions.session_lifecycle(lifecycle).build();
        let site = App::new().wrap(sessions).service(plain).service(read).service(count);
        site.service(logout).service(slow)
    })
    .workers(WORKERS)
    .bind((Ipv4Addr::LOCALHOST, port))?
    .run()
    .await
}
