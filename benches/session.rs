//! Benchmarks of accessors, the codec and whole requests: `cargo xtask bench`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Bencher, Criterion, criterion_group, criterion_main};
use rocket::http::{Cookie, Status};
use rocket::local::asynchronous::Client;
use rocket::tokio::runtime::{Builder, Runtime};
use rocket::{Build, Rocket, get, routes};
use session_rocket::{Config, Session};

/// A session with ten typical fields.
#[derive(Session)]
struct Visitor {
    account: Option<u64>,
    name: Option<String>,
    email: Option<String>,
    #[session(default = "en")]
    language: String,
    visits: u32,
    cart: Vec<u64>,
    seen: Vec<String>,
    balance: f64,
    dark: bool,
    last_page: Option<String>,
}

fn visitor(visits: u32) -> Visitor {
    Visitor {
        account: Some(4711),
        name: Some("Rajat".into()),
        email: Some("rajat@example.com".into()),
        language: "de".into(),
        visits,
        cart: vec![1, 2, 3, 5, 8],
        seen: vec!["courses".into(), "teachers".into(), "timetable".into()],
        balance: 12.5,
        dark: true,
        last_page: Some("/student/gsession".into()),
    }
}

#[get("/bare")]
fn bare() -> &'static str {
    "0"
}

#[get("/read")]
fn read(session: Session<Visitor>) -> String {
    session.visits().to_string()
}

#[get("/write")]
fn write(session: Session<Visitor>) -> String {
    session
        .update_visits(|visits| {
            *visits += 1;
            *visits
        })
        .to_string()
}

#[get("/fill")]
fn fill(session: Session<Visitor>) {
    session.replace(visitor(0));
}

/// A site, and a visitor with a session.
struct Site {
    client: Client,
    cookie: Cookie<'static>,
}

fn quiet() -> Rocket<Build> {
    rocket::custom(rocket::Config::figment().merge(("log_level", "off")))
}

impl Site {
    async fn launch(store: &str) -> Self {
        let fairing = Session::<Visitor>::fairing().config(Config::new().store(store).cookie_name("sessionid"));
        let rocket = quiet().attach(fairing).mount("/", routes![bare, read, write, fill]);
        let client = Client::untracked(rocket).await.expect("cannot launch the site");
        let response = client.get("/fill").dispatch().await;
        let cookie = response.cookies().get("sessionid").expect("no session cookie").clone().into_owned();
        drop(response);
        Self { client, cookie }
    }

    async fn get(&self, path: &str, with_session: bool) {
        let mut request = self.client.get(path);
        if with_session {
            request = request.cookie(self.cookie.clone());
        }
        let response = request.dispatch().await;
        assert_eq!(response.status(), Status::Ok);
        black_box(response.into_string().await);
    }

    /// Loads the visitor's session with the guard of a new request.
    async fn load(&self) -> Session<Visitor> {
        let request = self.client.get("/").cookie(self.cookie.clone());
        request.inner().guard().await.expect("cannot load the session")
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("cannot start a runtime")
}

fn accessors(c: &mut Criterion) {
    let runtime = runtime();
    let site = runtime.block_on(Site::launch("memory:"));
    let mut group = c.benchmark_group("accessor");
    let session = runtime.block_on(site.load());
    group.bench_function("get a number", |b| b.iter(|| black_box(session.visits())));
    group.bench_function("get a string", |b| b.iter(|| black_box(session.name())));
    group.bench_function("with a string", |b| b.iter(|| session.with_name(|name| black_box(name.map(String::len)))));
    let fresh = || runtime.block_on(site.load());
    group.bench_function("set a number", |b| changes(b, fresh, |session, n| session.set_visits(n)));
    group.bench_function("update a number", |b| {
        changes(b, fresh, |session, _| session.update_visits(|visits| *visits += 1));
    });
    group.finish();
}

/// Measures a change. A session keeps its changes for replay, so each gets only a hundred. Few requests make more changes.
fn changes(bencher: &mut Bencher<'_>, fresh: impl Fn() -> Session<Visitor>, change: impl Fn(&Session<Visitor>, u32)) {
    bencher.iter_custom(|mut left| {
        let mut spent = Duration::ZERO;
        let mut session = fresh();
        while left > 0 {
            let round = left.min(100);
            let start = Instant::now();
            for _ in 0..round {
                change(&session, black_box(7));
            }
            spent += start.elapsed();
            left -= round;
            session = fresh();
        }
        spent
    });
}

fn codec(c: &mut Criterion) {
    let runtime = runtime();
    let site = runtime.block_on(Site::launch("memory:"));
    let mut group = c.benchmark_group("ten fields");
    group.bench_function("decode (load, get)", |b| {
        b.to_async(&runtime).iter(|| async { black_box(site.load().await.get()) });
    });
    group.bench_function("load alone", |b| b.to_async(&runtime).iter(|| async { black_box(site.load().await) }));
    let mut visits = 0;
    let mut changed = || {
        visits += 1;
        let session = runtime.block_on(site.load());
        session.replace(visitor(visits));
        session
    };
    let save = |session: Session<Visitor>| runtime.block_on(async move { session.save().await.is_ok() });
    group.bench_function("encode (save)", |b| {
        b.iter_batched(&mut changed, |session| assert!(save(session)), BatchSize::PerIteration);
    });
    group.finish();
}

fn requests(c: &mut Criterion) {
    let runtime = runtime();
    let dir = tempfile::tempdir().expect("cannot create a directory");
    let memory = runtime.block_on(Site::launch("memory:"));
    let sqlite = runtime.block_on(Site::launch(&format!("sqlite://{}", dir.path().join("sessions.db").display())));
    let plain = runtime.block_on(async {
        Client::untracked(quiet().mount("/", routes![bare])).await.expect("cannot launch the site")
    });
    let mut group = c.benchmark_group("request");
    group.bench_function("no fairing", |b| {
        b.to_async(&runtime).iter(|| async { black_box(plain.get("/bare").dispatch().await.into_string().await) });
    });
    for (name, site, path, with_session) in [
        ("session not used", &memory, "/bare", true),
        ("visitor without a session", &memory, "/read", false),
        ("read, memory", &memory, "/read", true),
        ("read, SQLite", &sqlite, "/read", true),
        ("update, memory", &memory, "/write", true),
        ("update, SQLite", &sqlite, "/write", true),
    ] {
        group.bench_function(name, |b| b.to_async(&runtime).iter(|| site.get(path, with_session)));
    }
    group.finish();
}

criterion_group!(benches, accessors, codec, requests);
criterion_main!(benches);
