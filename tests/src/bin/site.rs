//! A site for tests that need several processes or kill one.
//!
//! The environment variables `SITE_STORE`, `SITE_CACHE` and `SITE_TIMEOUT` (in milliseconds) configure it, and so does
//! `ROCKET_SESSION={…}`, as for any site. When the site is ready, it prints its port.
//!
//! By default, `SITE_TIMEOUT` is a minute. Unless it is shorter, the site also waits a minute for its cache.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rocket::fairing::AdHoc;
use rocket::futures::{SinkExt, StreamExt};
use rocket::tokio::select;
use rocket::tokio::sync::Notify;
use rocket::{State, get, launch, routes};
use rocket_ws::frame::{CloseCode, CloseFrame};
use rocket_ws::stream::DuplexStream;
use rocket_ws::{Channel, WebSocket};
use session_rocket::store::{self, Create, Lookup, Retire, Store, Touch, Update};
use session_rocket::{Config, Error, Key, Record, Session, SessionHandle, Sessions, Timestamp, Tombstone, Version};
use session_rocket_tests::patient_clock::{PATIENT, PatientClock};

/// The session type. Many requests change one session concurrently.
#[derive(Session)]
struct Hot {
    num_visits: u64,
    first: Option<String>,
    #[session(extra)]
    others: serde_json::Map<String, serde_json::Value>,
    #[session(identity)]
    user_id: Option<String>,
}

/// How many updates found that another request had changed the record.
static CONFLICTS: AtomicU64 = AtomicU64::new(0);

#[get("/count")]
fn count(session: Session<Hot>) -> String {
    session.update_num_visits(|visits| *visits += 1);
    session.num_visits().to_string()
}

#[get("/get")]
fn get_count(session: Session<Hot>) -> String {
    session.num_visits().to_string()
}

#[get("/field/<name>")]
fn field(session: Session<Hot>, name: String) {
    session.update_others(move |fields| _ = fields.insert(name, true.into()));
}

#[get("/fields")]
fn fields(session: Session<Hot>) -> String {
    session.with_others(serde_json::Map::len).to_string()
}

#[get("/first/<value>")]
async fn first(session: Session<Hot>, value: &str) -> Result<String, String> {
    session.setdefault_first(value);
    session.save().await.map_err(|e| e.to_string())?;
    Ok(session.first().unwrap_or_default())
}

#[get("/login/<user>")]
fn login(session: Session<Hot>, user: &str) {
    session.set_user_id(user);
}

#[get("/logout")]
fn logout(session: Session<Hot>) {
    session.flush();
}

#[get("/whoami")]
fn whoami(session: Session<Hot>) -> String {
    session.user_id().unwrap_or_else(|| "nobody".to_owned())
}

/// Changes the session, and returns its user.
#[get("/touch")]
fn touch(session: Session<Hot>) -> String {
    session.update_num_visits(|visits| *visits += 1);
    whoami(session)
}

/// Gives the session a new id, and returns its user.
#[get("/rotate")]
fn rotate(session: Session<Hot>) -> String {
    session.cycle_id();
    whoami(session)
}

#[get("/handle")]
fn handle(session: Session<Hot>) -> String {
    session.handle().map(|handle| handle.to_string()).unwrap_or_default()
}

#[get("/wait-for-end")]
async fn wait_for_end(session: Session<Hot>) -> &'static str {
    session.ended().await;
    "ended"
}

/// A WebSocket that sends each message back until the session ends.
#[get("/socket")]
fn socket(session: Session<Hot>, socket: WebSocket) -> Channel<'static> {
    socket.channel(move |socket| Box::pin(echo_until_end(session, socket)))
}

async fn echo_until_end(session: Session<Hot>, mut socket: DuplexStream) -> rocket_ws::result::Result<()> {
    let mut ended = pin!(session.ended());
    loop {
        select! {
            () = &mut ended => break,
            message = socket.next() => match message {
                Some(message) => socket.send(message?).await?,
                None => return Ok(()),
            },
        }
    }
    let frame = CloseFrame { code: CloseCode::Policy, reason: "the session has ended".into() };
    socket.close(Some(frame)).await
}

#[get("/sessions/<user>")]
async fn live_sessions(sessions: Sessions<Hot>, user: String) -> Result<String, Error> {
    Ok(sessions.list(&user).await?.len().to_string())
}

#[get("/sessions/<user>/end/<handle>")]
async fn end_one(sessions: Sessions<Hot>, user: String, handle: SessionHandle) -> Result<String, Error> {
    Ok(sessions.revoke(&user, &handle).await?.to_string())
}

#[get("/sessions/<user>/end-all")]
async fn end_all(sessions: Sessions<Hot>, user: String) -> Result<String, Error> {
    Ok(sessions.revoke_all(&user).await?.to_string())
}

#[get("/end-others")]
async fn end_others(sessions: Sessions<Hot>, session: Session<Hot>) -> Result<String, Error> {
    Ok(sessions.revoke_others(&session).await?.to_string())
}

/// Blocks requests until the gate is opened.
#[derive(Default)]
struct Gate {
    waiting: AtomicU64,
    opened: Notify,
}

/// Reads the session, sets a field, and waits at the gate before it responds.
#[get("/slow/<name>")]
async fn slow_field(session: Session<Hot>, name: String, gate: &State<Gate>) {
    session.update_others(move |fields| _ = fields.insert(name, true.into()));
    let opened = gate.opened.notified();
    gate.waiting.fetch_add(1, Ordering::SeqCst);
    opened.await;
    gate.waiting.fetch_sub(1, Ordering::SeqCst);
}

#[get("/waiting")]
fn waiting(gate: &State<Gate>) -> String {
    gate.waiting.load(Ordering::SeqCst).to_string()
}

#[get("/open")]
fn open_gate(gate: &State<Gate>) {
    gate.opened.notify_waiters();
}

#[get("/conflicts")]
fn conflicts() -> String {
    CONFLICTS.load(Ordering::Relaxed).to_string()
}

/// Counts the conflicts of the store that it wraps.
struct ConflictCounter(Arc<dyn Store>);

#[async_trait]
impl Store for ConflictCounter {
    async fn load(&self, key: &Key) -> Result<Lookup, Error> {
        self.0.load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create, Error> {
        self.0.create(key, record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update, Error> {
        let reply = self.0.update(key, expected, record).await?;
        if matches!(reply, Update::Conflict(_)) {
            CONFLICTS.fetch_add(1, Ordering::Relaxed);
        }
        Ok(reply)
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch, Error> {
        self.0.touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire, Error> {
        self.0.retire(key, expected, tombstone).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.0.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64, Error> {
        self.0.delete_expired(limit).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>, Error> {
        self.0.list(scope, identity).await
    }

    fn has_identity_index(&self) -> bool {
        self.0.has_identity_index()
    }
}

#[launch]
async fn rocket() -> _ {
    let url = std::env::var("SITE_STORE").expect("the test sets `SITE_STORE`");
    let timeout = std::env::var("SITE_TIMEOUT").ok().map(|millis| millis.parse().expect("`SITE_TIMEOUT` is a number"));
    let timeout = timeout.map_or(PATIENT, Duration::from_millis);
    let mut options = store::Options::new(url).timeout(timeout);
    options.cache = std::env::var("SITE_CACHE").ok().filter(|url| !url.is_empty());
    if timeout >= PATIENT {
        options.clock = Arc::new(PatientClock);
    }
    let store = store::open(&options).await.expect("the test's store opens");
    let fairing = Session::<Hot>::fairing().config(Config::new().timeout(timeout)).store(ConflictCounter(store));
    rocket::build()
        .attach(fairing)
        .attach(AdHoc::on_liftoff("port", |rocket| Box::pin(async move { println!("port {}", rocket.config().port) })))
        .manage(Gate::default())
        .mount("/", routes![count, get_count, field, fields, first, login, logout, whoami, conflicts])
        .mount("/", routes![slow_field, waiting, open_gate])
        .mount("/", routes![touch, rotate, handle, wait_for_end, socket, live_sessions, end_one, end_all, end_others])
}
