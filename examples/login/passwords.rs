//! Password hashing with argon2id, on blocking threads, a limited number at a time.

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
    Err(_) => panic!("invalid argon2 parameters"),
};

/// The number of passwords hashed at a time. Concurrent logins use at most 76 MiB and four threads.
const MAX_CONCURRENT: usize = 4;

pub struct Passwords {
    permits: Arc<Semaphore>,
    /// The hash that the passwords of unknown users are compared with.
    dummy_hash: String,
    /// The longest wait of a login for a permit.
    max_wait: Duration,
}

#[derive(Debug)]
pub enum PasswordError {
    /// There were too many concurrent logins.
    Busy,
    /// The stored hash is damaged, or there were no random bytes.
    Hash(password_hash::Error),
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many concurrent logins"),
            Self::Hash(error) => write!(f, "cannot hash a password: {error}"),
        }
    }
}

impl Error for PasswordError {}

impl Passwords {
    pub async fn new() -> Result<Self, PasswordError> {
        let passwords = Self {
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT)),
            dummy_hash: String::new(),
            max_wait: Duration::from_secs(5),
        };
        let dummy_hash = passwords.hash(String::new()).await?;
        Ok(Self { dummy_hash, ..passwords })
    }

    /// Hashes a new password. The hash contains the salt and the parameters.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let hash = self.run(move |argon2| argon2.hash_password(password.as_bytes())).await?;
        Ok(hash.map_err(PasswordError::Hash)?.to_string())
    }

    /// Verifies a password. For an unknown user, `hash` is `None`; the call takes as long, so that its duration does not reveal
    /// whether the user exists.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
        let exists = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy_hash.clone());
        match self.run(move |argon2| argon2.verify_password(password.as_bytes(), hash.as_str())).await? {
            Ok(()) => Ok(exists),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(PasswordError::Hash(error)),
        }
    }

    /// Runs `work` on a blocking thread, after waiting for a permit.
    async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(Argon2<'static>) -> R + Send + 'static,
    ) -> Result<R, PasswordError> {
        let permit = timeout(self.max_wait, self.permits.clone().acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok).ok_or(PasswordError::Busy)?;
        let hashing = spawn_blocking(move || {
            // Held until the work is done, which continues even if the client disconnects.
            let _permit = permit;
            work(Argon2::new(Algorithm::Argon2id, Version::V0x13, COST))
        });
        hashing.await.map_err(|_| PasswordError::Busy)
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
    async fn an_unknown_user_has_no_valid_password_and_a_damaged_hash_is_an_error() {
        let passwords = Passwords::new().await.unwrap();
        assert!(!passwords.verify(String::new(), None).await.unwrap());
        assert!(!passwords.verify("secret".into(), None).await.unwrap());
        assert!(matches!(passwords.verify("x".into(), Some("x".into())).await, Err(PasswordError::Hash(_))));
    }

    #[rocket::async_test]
    async fn a_login_that_waits_too_long_for_a_permit_fails() {
        let passwords = Passwords { max_wait: Duration::from_millis(10), ..Passwords::new().await.unwrap() };
        let all = passwords.permits.clone().acquire_many_owned(4).await.unwrap();
        assert!(matches!(passwords.verify("secret".into(), None).await, Err(PasswordError::Busy)));
        drop(all);
        assert!(!passwords.verify("secret".into(), None).await.unwrap());
    }
}
