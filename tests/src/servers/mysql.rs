//! A MariaDB server.

use std::process::Command;

use session_rocket::sqlx::mysql::MySqlPoolOptions;
use session_rocket::sqlx::{AssertSqlSafe, MySqlPool};

use super::{ServerProcess, confine, programs, run, temporary_directory};

const PASSWORD: &str = "secret-of-the-tests";

/// A MariaDB server with one database and default settings.
pub struct MySql(ServerProcess);

impl MySql {
    /// Sets up and starts a server.
    ///
    /// # Panics
    /// If the server cannot be set up or does not start.
    pub fn start() -> Self {
        Self::with_settings(&[])
    }

    /// Sets up and starts a server with additional settings.
    ///
    /// # Panics
    /// If the server cannot be set up or does not start.
    pub fn with_settings(settings: &'static [&'static str]) -> Self {
        let program = programs::find("mariadbd").unwrap_or_else(|missing| panic!("{missing}"));
        let directory = temporary_directory();
        let data = format!("--datadir={}", directory.path().join("data").display());
        let mut make = Command::new(programs::find("mariadb-install-db").unwrap_or_else(|missing| panic!("{missing}")));
        make.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &data]);
        make.arg(format!("--tmpdir={}", directory.path().display()));
        // Without this option, the program refuses to run as root.
        if rustix::process::geteuid().is_root() {
            make.arg("--user=root");
        }
        let made = run(confine(&mut make, directory.path()));
        let output = [made.stdout, made.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(made.status.success(), "mariadb-install-db failed: {output}");
        let start = directory.path().join("start.sql");
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS site;\n\
             CREATE USER IF NOT EXISTS site@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON *.* TO site@'127.0.0.1' WITH GRANT OPTION;\n"
        );
        std::fs::write(&start, sql).expect("`start.sql` can be written");
        Self(ServerProcess::start(directory, move |directory, port| {
            let mut command = Command::new(&program);
            command.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve"]);
            command.arg(format!("--port={port}"));
            let files = [("datadir", "data"), ("tmpdir", ""), ("socket", "socket"), ("pid-file", "pid")];
            for (setting, file) in files.into_iter().chain([("init-file", "start.sql")]) {
                command.arg(format!("--{setting}={}", directory.join(file).display()));
            }
            if rustix::process::geteuid().is_root() {
                command.arg("--user=root");
            }
            command.args(settings);
            command
        }))
    }

    /// The URL of the database.
    pub fn url(&self) -> String {
        self.url_for("site", PASSWORD)
    }

    /// The URL of the database for another user.
    pub fn url_for(&self, user: &str, password: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}/site", self.0.port())
    }

    /// A connection pool of another client of the database.
    ///
    /// # Panics
    /// If the server does not accept connections.
    pub async fn pool(&self) -> MySqlPool {
        MySqlPoolOptions::new().max_connections(4).connect(&self.url()).await.expect("the server accepts connections")
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

impl std::ops::Deref for MySql {
    type Target = ServerProcess;

    fn deref(&self) -> &ServerProcess {
        &self.0
    }
}

impl std::ops::DerefMut for MySql {
    fn deref_mut(&mut self) -> &mut ServerProcess {
        &mut self.0
    }
}
