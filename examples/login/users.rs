//! The users: a table of the application's own, in the database that keeps the sessions too.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use rocket::fairing::AdHoc;
use rocket::http::Status;
use rocket::outcome::try_outcome;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::response::{self, Responder};
use rocket::{Build, Rocket, State};
use serde::Deserialize;
use session_rocket::Session;
use session_rocket::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use session_rocket::sqlx::{self, SqlitePool};

use crate::Account;
use crate::passwords::{Passwords, Trouble};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL
) STRICT";

/// Who is logged in. As a request guard it forwards with 401 if nobody is; the catcher sends them to the login page.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    pub id: i64,
    pub name: String,
}

/// The table of users.
pub struct Users {
    pool: SqlitePool,
    passwords: Passwords,
}

/// The user who is made where there is none: `first_user` in the configuration.
#[derive(Deserialize)]
struct FirstUser {
    username: String,
    password: String,
}

/// Why a user could not be looked up. As a response it is a 503, or a 500, and the reason is in the log.
#[derive(Debug)]
pub enum UserError {
    Database(sqlx::Error),
    Password(Trouble),
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(f, "the table of users cannot be used: {error}"),
            Self::Password(trouble) => trouble.fmt(f),
        }
    }
}

impl Error for UserError {}

impl From<sqlx::Error> for UserError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Trouble> for UserError {
    fn from(trouble: Trouble) -> Self {
        Self::Password(trouble)
    }
}

impl UserError {
    /// The answer's status; the reason goes to the log.
    fn status(&self) -> Status {
        rocket::error!("{self}");
        match self {
            Self::Database(_) | Self::Password(Trouble::Busy) => Status::ServiceUnavailable,
            Self::Password(Trouble::Hash(_)) => Status::InternalServerError,
        }
    }
}

impl<'r> Responder<'r, 'static> for UserError {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        Err(self.status())
    }
}

impl Users {
    /// Opens the database, which is made if it is missing.
    async fn open(url: &str) -> Result<Self, UserError> {
        let connect = SqliteConnectOptions::from_str(url)?.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let pool = SqlitePool::connect_with(connect).await?;
        sqlx::query(TABLE).execute(&pool).await?;
        Ok(Self { pool, passwords: Passwords::new().await? })
    }

    /// Adds a user, unless there is one of that name.
    async fn add(&self, name: &str, password: String) -> Result<(), UserError> {
        let hash = self.passwords.hash(password).await?;
        let insert = sqlx::query("INSERT INTO users (username, password_hash) VALUES (?, ?) ON CONFLICT DO NOTHING");
        insert.bind(name).bind(hash).execute(&self.pool).await?;
        Ok(())
    }

    async fn is_empty(&self) -> Result<bool, UserError> {
        let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users)").fetch_one(&self.pool).await?;
        Ok(!any)
    }

    /// The user of that name, if the password is right.
    pub async fn authenticate(&self, name: &str, password: String) -> Result<Option<User>, UserError> {
        let find = sqlx::query_as("SELECT id, username, password_hash FROM users WHERE username = ?");
        let row: Option<(i64, String, String)> = find.bind(name).fetch_optional(&self.pool).await?;
        let (user, hash) = row.map(|(id, name, hash)| (User { id, name }, hash)).unzip();
        Ok(if self.passwords.verify(password, hash).await? { user } else { None })
    }

    async fn find(&self, id: i64) -> Result<Option<User>, UserError> {
        let find = sqlx::query_scalar("SELECT username FROM users WHERE id = ?");
        let name = find.bind(id).fetch_optional(&self.pool).await?;
        Ok(name.map(|name| User { id, name }))
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for User {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let session = try_outcome!(request.guard::<Session<Account>>().await.map_error(|(status, _)| (status, ())));
        let users = try_outcome!(request.guard::<&State<Users>>().await);
        let Some(id) = session.user_id().filter(|_| session.is_logged_in()) else {
            return Outcome::Forward(Status::Unauthorized);
        };
        match users.find(id).await {
            Ok(Some(user)) => Outcome::Success(user),
            Ok(None) => {
                // The account was deleted meanwhile: so is what was remembered about it.
                session.flush();
                Outcome::Forward(Status::Unauthorized)
            }
            Err(error) => Outcome::Error((error.status(), ())),
        }
    }
}

/// Opens the database at launch, and keeps the sessions in it too.
pub fn fairing() -> AdHoc {
    AdHoc::try_on_ignite("Users", |rocket| async {
        match open(&rocket).await {
            Ok(users) => {
                let sessions = Session::<Account>::fairing().pool(users.pool.clone());
                Ok(rocket.manage(users).attach(sessions))
            }
            Err(error) => {
                rocket::error!("{error}");
                Err(rocket)
            }
        }
    })
}

async fn open(rocket: &Rocket<Build>) -> Result<Users, Box<dyn Error>> {
    let figment = rocket.figment();
    let url = if figment.contains("database") {
        figment.extract_inner("database")?
    } else {
        String::from("sqlite://login.db")
    };
    let users = Users::open(&url).await?;
    let first = match figment.contains("first_user") {
        true => Some(figment.extract_inner("first_user")?),
        // The README tells this password to everybody: never outside of development.
        false if figment.profile() == rocket::Config::DEBUG_PROFILE => {
            Some(FirstUser { username: "rajat".into(), password: "rajat-learns-rocket".into() })
        }
        false => None,
    };
    if let Some(FirstUser { username, password }) = first
        && users.is_empty().await?
    {
        users.add(&username, password).await?;
        rocket::info!("made the first user, `{username}`");
    }
    Ok(users)
}
