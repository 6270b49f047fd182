//! Password hashes: argon2id, away from the threads that serve requests, and only so many at once.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use rocket::tokio::sync::Semaphore;
use rocket::tokio::task::spawn_blocking;
use rocket::tokio::time::timeout;

/// OWASP's recommendation (Password Storage Cheat Sheet): 19 MiB of memory, two passes, one lane.
const COST: Params = match Params::new(19 * 1024, 2, 1, None) {
    Ok(cost) => cost,
    Err(_) => panic!("argon2 takes these parameters"),
};

/// How many passwords are hashed at once: a flood of logins takes 76 MiB and four threads, and not all there is.
const AT_ONCE: usize = 4;

/// Makes and checks password hashes.
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// The hash that an unknown user's password is checked against.
    nobodys: String,
    /// How long a login waits for its turn.
    patience: Duration,
}

/// Why a password was neither hashed nor checked.
#[derive(Debug)]
pub enum Trouble {
    /// Too many logins at once.
    Busy,
    /// Hashing failed: a damaged hash, no random bytes.
    Hash(password_hash::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many passwords are being checked at once"),
            Self::Hash(error) => write!(f, "a password cannot be hashed: {error}"),
        }
    }
}

impl Error for Trouble {}

impl Passwords {
    pub async fn new() -> Result<Self, Trouble> {
        let passwords =
            Self { turns: Arc::new(Semaphore::new(AT_ONCE)), nobodys: String::new(), patience: Duration::from_secs(5) };
        let nobodys = passwords.hash(String::new()).await?;
        Ok(Self { nobodys, ..passwords })
    }

    /// The hash of a new password, with its salt and parameters.
    pub async fn hash(&self, password: String) -> Result<String, Trouble> {
        let hash = self.in_turn(move |argon2| argon2.hash_password(password.as_bytes())).await?;
        Ok(hash.map_err(Trouble::Hash)?.to_string())
    }

    /// Whether a password is right. `hash` is `None` for a user who does not exist: that takes as long, so that nobody
    /// can find out who does.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Trouble> {
        let exists = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobodys.clone());
        match self.in_turn(move |argon2| argon2.verify_password(password.as_bytes(), hash.as_str())).await? {
            Ok(()) => Ok(exists),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(Trouble::Hash(error)),
        }
    }

    async fn in_turn<R: Send + 'static>(
        &self,
        work: impl FnOnce(Argon2<'static>) -> R + Send + 'static,
    ) -> Result<R, Trouble> {
        let turn = timeout(self.patience, self.turns.clone().acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(Trouble::Busy)?;
        let hashing = spawn_blocking(move || {
            // Given back when the work is done, not when the client has gone away: the work goes on without it.
            let _turn = turn;
            work(Argon2::new(Algorithm::Argon2id, Version::V0x13, COST))
        });
        hashing.await.map_err(|_| Trouble::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rocket::async_test]
    async fn hashes_are_salted_argon2id_at_the_recommended_cost() {
        let passwords = Passwords::new().await.unwrap();
        let hash = passwords.hash("secret".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("secret".into()).await.unwrap());
        assert!(passwords.verify("secret".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("Secret".into(), Some(hash)).await.unwrap());
    }

    #[rocket::async_test]
    async fn nobody_has_a_password_and_no_hash_is_no_password() {
        let passwords = Passwords::new().await.unwrap();
        assert!(!passwords.verify(String::new(), None).await.unwrap());
        assert!(!passwords.verify("secret".into(), None).await.unwrap());
        assert!(matches!(passwords.verify("x".into(), Some("x".into())).await, Err(Trouble::Hash(_))));
    }

    #[rocket::async_test]
    async fn a_login_that_gets_no_turn_is_told_so() {
        let passwords = Passwords { patience: Duration::from_millis(10), ..Passwords::new().await.unwrap() };
        let all = passwords.turns.clone().acquire_many_owned(4).await.unwrap();
        assert!(matches!(passwords.verify("secret".into(), None).await, Err(Trouble::Busy)));
        drop(all);
        assert!(!passwords.verify("secret".into(), None).await.unwrap());
    }
}
