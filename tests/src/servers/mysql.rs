//! A MariaDB server.

use std::process::Command;

use session_rocket::sqlx::mysql::MySqlPoolOptions;
use session_rocket::sqlx::{AssertSqlSafe, MySqlPool};

use super::{Private, confine, directory, programs};

const PASSWORD: &str = "secret-of-the-tests";

/// A server with one database, with the settings it comes with.
pub struct MySql(Private);

impl MySql {
    /// Makes and starts it.
    ///
    /// # Panics
    /// When it cannot be made, or does not start.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with more settings.
    ///
    /// # Panics
    /// When it cannot be made, or does not start.
    pub fn with(settings: &'static [&'static str]) -> Self {
        let program = programs::find("mariadbd").unwrap_or_else(|missing| panic!("{missing}"));
        let directory = directory();
        let data = format!("--datadir={}", directory.path().join("data").display());
        let mut make = Command::new(programs::find("mariadb-install-db").unwrap_or_else(|missing| panic!("{missing}")));
        make.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &data]);
        make.arg(format!("--tmpdir={}", directory.path().display()));
        // It refuses to be run by root, unless it is told to.
        if rustix::process::geteuid().is_root() {
            make.arg("--user=root");
        }
        let made = confine(&mut make, directory.path()).output().expect("mariadb-install-db can be run");
        let told = [made.stdout, made.stderr].map(|told| String::from_utf8_lossy(&told).into_owned()).concat();
        assert!(made.status.success(), "mariadb-install-db failed: {told}");
        let start = directory.path().join("start.sql");
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS site;\n\
             CREATE USER IF NOT EXISTS site@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON *.* TO site@'127.0.0.1' WITH GRANT OPTION;\n"
        );
        std::fs::write(&start, sql).expect("the first statements can be written");
        Self(Private::start(directory, move |directory, port| {
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

    /// The URL of its database.
    pub fn url(&self) -> String {
        self.url_of("site", PASSWORD)
    }

    /// The same, for another user.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}/site", self.0.port())
    }

    /// Connections of somebody else.
    ///
    /// # Panics
    /// When there are none.
    pub async fn pool(&self) -> MySqlPool {
        MySqlPoolOptions::new().max_connections(4).connect(&self.url()).await.expect("the server takes connections")
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

impl std::ops::Deref for MySql {
    type Target = Private;

    fn deref(&self) -> &Private {
        &self.0
    }
}

impl std::ops::DerefMut for MySql {
    fn deref_mut(&mut self) -> &mut Private {
        &mut self.0
    }
}
