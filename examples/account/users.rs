//! The users, in memory. A real site has a table instead.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rocket::fairing::AdHoc;

use crate::passwords::{PasswordError, Passwords};

#[derive(Clone)]
pub struct User {
    pub id: u64,
    pub name: String,
    pub password_hash: String,
}

pub struct Users {
    passwords: Passwords,
    rows: Mutex<Vec<User>>,
}

impl Users {
    fn rows(&self) -> MutexGuard<'_, Vec<User>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a user, or returns `None` if the name is taken.
    pub async fn register(&self, name: &str, password: String) -> Result<Option<User>, PasswordError> {
        let hash = self.passwords.hash(password).await?;
        Ok(self.add(name, hash))
    }

    /// Adds a user with a hashed password, or returns `None` if the name is taken.
    pub fn add(&self, name: &str, password_hash: String) -> Option<User> {
        let mut rows = self.rows();
        if rows.iter().any(|user| user.name == name) {
            return None;
        }
        let id = rows.last().map_or(1, |last| last.id + 1);
        let user = User { id, name: name.to_owned(), password_hash };
        rows.push(user.clone());
        Some(user)
    }

    pub fn find(&self, id: u64) -> Option<User> {
        self.rows().iter().find(|user| user.id == id).cloned()
    }

    /// Returns the user with this name, if the password is correct.
    pub async fn authenticate(&self, name: &str, password: String) -> Result<Option<User>, PasswordError> {
        let user = self.rows().iter().find(|user| user.name == name).cloned();
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        Ok(if self.passwords.verify(password, hash).await? { user } else { None })
    }

    /// Returns the changed user, or `None` if the user no longer exists.
    pub async fn change_password(&self, id: u64, password: String) -> Result<Option<User>, PasswordError> {
        Ok(self.set_password_hash(id, self.passwords.hash(password).await?))
    }

    pub fn set_password_hash(&self, id: u64, hash: String) -> Option<User> {
        let mut rows = self.rows();
        let user = rows.iter_mut().find(|user| user.id == id)?;
        user.password_hash = hash;
        Some(user.clone())
    }
}

pub fn fairing() -> AdHoc {
    AdHoc::try_on_ignite("Users", |rocket| async {
        match Passwords::new().await {
            Ok(passwords) => Ok(rocket.manage(Users { passwords, rows: Mutex::default() })),
            Err(error) => {
                rocket::error!("{error}");
                Err(rocket)
            }
        }
    })
}
