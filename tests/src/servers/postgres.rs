//! A PostgreSQL server.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use session_rocket::sqlx::postgres::PgPoolOptions;
use session_rocket::sqlx::{AssertSqlSafe, PgPool};

use super::{ServerProcess, confine, programs, run, temporary_directory};

const PASSWORD: &str = "secret-of-the-tests";

/// A PostgreSQL server with one database and default settings: every commit reaches the disk.
pub struct Postgres(ServerProcess);

impl Postgres {
    /// Sets up and starts a server.
    ///
    /// # Panics
    /// If the server cannot be set up or does not start.
    pub fn start() -> Self {
        let program = programs::find("postgres").unwrap_or_else(|missing| panic!("{missing}"));
        let user = other_user();
        let directory = temporary_directory();
        let data = directory.path().join("data");
        if let Some((id, group)) = user {
            chown(directory.path(), Some(id), Some(group)).expect("root can change the owner");
        }
        let password = directory.path().join("password");
        std::fs::write(&password, PASSWORD).expect("the password can be written");
        let mut make = Command::new(
            program.canonicalize().expect("the path of the program can be resolved").with_file_name("initdb"),
        );
        make.args(["--no-sync", "--auth=scram-sha-256", "--username=site", "--encoding=UTF8", "--locale=C.UTF-8"]);
        make.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data);
        let made = run(as_user(confine(&mut make, directory.path()), user));
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        let start = move |directory: &Path, port: u16| {
            let mut command = Command::new(&program);
            command.arg("-D").arg(directory.join("data")).args(["-p", &port.to_string()]);
            // The server keeps shared memory in the data directory, because other kinds remain after the server is
            // killed.
            command.args(["-c", "dynamic_shared_memory_type=mmap"]);
            command.args(["-c", "listen_addresses=127.0.0.1", "-c"]);
            command.arg(format!("unix_socket_directories={}", directory.display()));
            as_user(&mut command, user);
            command
        };
        Self(ServerProcess::start_when_ready(directory, start, is_ready))
    }

    /// The URL of the database.
    pub fn url(&self) -> String {
        self.url_for("site", PASSWORD)
    }

    /// The URL of the database for another user.
    pub fn url_for(&self, user: &str, password: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/postgres", self.0.port())
    }

    /// A connection pool of another client of the database.
    ///
    /// # Panics
    /// If the server does not accept connections.
    pub async fn pool(&self) -> PgPool {
        PgPoolOptions::new().max_connections(4).connect(&self.url()).await.expect("the server accepts connections")
    }

    /// Runs SQL statements.
    ///
    /// # Panics
    /// If a statement fails.
    pub async fn run(&self, sql: &str) {
        let pool = self.pool().await;
        session_rocket::sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.expect("the statements succeed");
        pool.close().await;
    }
}

fn is_ready(port: u16) -> bool {
    let program = programs::find("postgres").and_then(|path| path.canonicalize().map_err(|error| error.to_string()));
    let mut command =
        Command::new(program.expect("the server was started with this program").with_file_name("pg_isready"));
    let status = command.args(["--quiet", "--host=127.0.0.1", "--port", &port.to_string()]).status();
    status.is_ok_and(|status| status.success())
}

/// PostgreSQL refuses to run as root. If the tests run as root, returns the ids of the user and group `postgres`.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string(Path::new("/etc/passwd")).expect("`/etc/passwd` can be read");
    let entry =
        users.lines().find(|line| line.starts_with("postgres:")).expect("the package created the user `postgres`");
    let mut fields = entry.split(':').skip(2);
    let mut number = || fields.next()?.parse().ok();
    Some((number().expect("the entry has a user id"), number().expect("the entry has a group id")))
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    match user {
        Some((id, group)) => command.uid(id).gid(group),
        None => command,
    }
}

impl std::ops::Deref for Postgres {
    type Target = ServerProcess;

    fn deref(&self) -> &ServerProcess {
        &self.0
    }
}

impl std::ops::DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut ServerProcess {
        &mut self.0
    }
}
