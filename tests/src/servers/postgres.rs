//! A PostgreSQL server.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use session_rocket::sqlx::postgres::PgPoolOptions;
use session_rocket::sqlx::{AssertSqlSafe, PgPool};

use super::{Private, confine, directory, programs};

const PASSWORD: &str = "secret-of-the-tests";

/// A server with one database, as the packages set it up: every commit reaches the disk.
pub struct Postgres(Private);

impl Postgres {
    /// Makes and starts it.
    ///
    /// # Panics
    /// When it cannot be made, or does not start.
    pub fn start() -> Self {
        let program = programs::find("postgres").unwrap_or_else(|missing| panic!("{missing}"));
        let user = other_user();
        let directory = directory();
        let data = directory.path().join("data");
        if let Some((id, group)) = user {
            chown(directory.path(), Some(id), Some(group)).expect("root can give a directory away");
        }
        let password = directory.path().join("password");
        std::fs::write(&password, PASSWORD).expect("the password can be written");
        let mut make = Command::new(program.canonicalize().expect("a program has a path").with_file_name("initdb"));
        make.args(["--no-sync", "--auth=scram-sha-256", "--username=site", "--encoding=UTF8", "--locale=C.UTF-8"]);
        make.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data);
        let made = as_user(confine(&mut make, directory.path()), user).output().expect("initdb can be run");
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        let start = move |directory: &Path, port: u16| {
            let mut command = Command::new(&program);
            command.arg("-D").arg(directory.join("data")).args(["-p", &port.to_string()]);
            // Shared memory in the data directory: other kinds outlive a server that is killed.
            command.args(["-c", "dynamic_shared_memory_type=mmap"]);
            command.args(["-c", "listen_addresses=127.0.0.1", "-c"]);
            command.arg(format!("unix_socket_directories={}", directory.display()));
            as_user(&mut command, user);
            command
        };
        Self(Private::start_until(directory, start, is_ready))
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        self.url_of("site", PASSWORD)
    }

    /// The same, for another user.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/postgres", self.0.port())
    }

    /// Connections of somebody else.
    ///
    /// # Panics
    /// When there are none.
    pub async fn pool(&self) -> PgPool {
        PgPoolOptions::new().max_connections(4).connect(&self.url()).await.expect("the server takes connections")
    }

    /// Runs statements.
    ///
    /// # Panics
    /// When they fail.
    pub async fn run(&self, sql: &str) {
        let pool = self.pool().await;
        session_rocket::sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.expect("the statements run");
        pool.close().await;
    }
}

fn is_ready(port: u16) -> bool {
    let program = programs::find("postgres").and_then(|path| path.canonicalize().map_err(|error| error.to_string()));
    let mut ask = Command::new(program.expect("it was started").with_file_name("pg_isready"));
    let asked = ask.args(["--quiet", "--host=127.0.0.1", "--port", &port.to_string()]).status();
    asked.is_ok_and(|status| status.success())
}

/// The server refuses to be run by root: then the user of its package runs it.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string(Path::new("/etc/passwd")).expect("a list of users");
    let entry = users.lines().find(|line| line.starts_with("postgres:")).expect("the user `postgres` of the package");
    let mut fields = entry.split(':').skip(2);
    let mut number = || fields.next()?.parse().ok();
    Some((number().expect("the number of a user"), number().expect("the number of a group")))
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    match user {
        Some((id, group)) => command.uid(id).gid(group),
        None => command,
    }
}

impl std::ops::Deref for Postgres {
    type Target = Private;

    fn deref(&self) -> &Private {
        &self.0
    }
}

impl std::ops::DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Private {
        &mut self.0
    }
}
