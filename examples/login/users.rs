//! The users: a table of the application, in the same database as the sessions.

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
use crate::passwords::{PasswordError, Passwords};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL
) STRICT";

/// The logged-in user. As a request guard, it forwards with 401 if nobody is logged in; the catcher redirects to the login page.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    pub id: i64,
    pub name: String,
}

pub struct Users {
    pool: SqlitePool,
    passwords: Passwords,
}

/// The user to create if no user exists: `first_user` in the configuration.
#[derive(Deserialize)]
struct FirstUser {
    username: String,
    password: String,
}

/// A failed access to the users. As a response, it logs the reason and is a 503 or 500.
#[derive(Debug)]
pub enum UserError {
    Database(sqlx::Error),
    Password(PasswordError),
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(f, "cannot access the table of users: {error}"),
            Self::Password(error) => error.fmt(f),
        }
    }
}

impl Error for UserError {}

impl From<sqlx::Error> for UserError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<PasswordError> for UserError {
    fn from(error: PasswordError) -> Self {
        Self::Password(error)
    }
}

impl UserError {
    fn log_and_get_status(&self) -> Status {
        rocket::error!("{self}");
        match self {
            Self::Database(_) | Self::Password(PasswordError::Busy) => Status::ServiceUnavailable,
            Self::Password(PasswordError::Hash(_)) => Status::InternalServerError,
        }
    }
}

impl<'r> Responder<'r, 'static> for UserError {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        Err(self.log_and_get_status())
    }
}

impl Users {
    /// Opens or creates the database.
    async fn open(url: &str) -> Result<Self, UserError> {
        let connect = SqliteConnectOptions::from_str(url)?.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let pool = SqlitePool::connect_with(connect).await?;
        sqlx::query(TABLE).execute(&pool).await?;
        Ok(Self { pool, passwords: Passwords::new().await? })
    }

    /// Adds a user, unless the name exists.
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

    /// Returns the user with this name, if the password is correct.
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
                // The account was deleted, so its session must end.
                session.flush();
                Outcome::Forward(Status::Unauthorized)
            }
            Err(error) => Outcome::Error((error.log_and_get_status(), ())),
        }
    }
}

/// Opens the database at launch, for users and sessions.
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
        // This password is public, so the user exists only in development.
        false if figment.profile() == rocket::Config::DEBUG_PROFILE => {
            Some(FirstUser { username: "rajat".into(), password: "rajat-learns-rocket".into() })
        }
        false => None,
    };
    if let Some(FirstUser { username, password }) = first
        && users.is_empty().await?
    {
        users.add(&username, password).await?;
        rocket::info!("created the first user, `{username}`");
    }
    Ok(users)
}
