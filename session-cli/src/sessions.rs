//! The commands that work on the sessions of one user.

use std::cmp::Reverse;
use std::sync::Arc;

use indicatif::HumanBytes;
use serde_json::{Value, json};
use session_rocket::store::{Migrate, Store, TOMBSTONE_LIFETIME, revoke, revoke_all};
use session_rocket::{Clock, Config, Error, ErrorKind, Key, Record, Result, SessionHandle, SystemClock, Timestamp};

use super::args::{Selection, User};
use super::open::{open, open_with_cache, with_time_limit};
use super::report::{Report, age, count_of, shown_url};

/// The store, and the user whose sessions a command lists or ends.
struct UserSessions<'a> {
    config: &'a Config,
    store: Arc<dyn Store>,
    scope: &'a str,
    identity: &'a str,
}

/// Lists the live sessions of a user. The session in which the user authenticated last comes first.
pub(super) async fn list(config: &Config, user: &User) -> Result<Report> {
    let sessions = UserSessions::open(config, user, false).await?;
    let mut listed = sessions.list().await?;
    // `created_at` is the time of the authentication.
    listed.sort_by_key(|(key, record)| Reverse((record.created_at, *key)));
    let now = SystemClock.now();
    let blocks: Vec<String> = listed.iter().map(|(key, record)| text_of(key, record, now)).collect();
    let text = if blocks.is_empty() { sessions.none_found() } else { blocks.join("\n\n") };
    let listed: Vec<Value> = listed.iter().map(|(key, record)| json_of(key, record)).collect();
    let json = json!({ "store": shown_url(config), "scope": sessions.scope, "sessions": listed });
    Ok(Report { text, json })
}

pub(super) async fn end(config: &Config, user: &User, selection: &Selection) -> Result<Report> {
    let sessions = UserSessions::open(config, user, true).await?;
    let ended = match (selection.handle, selection.others_than) {
        (Some(handle), _) => sessions.end_one(handle).await?,
        (None, Some(handle)) => sessions.end_all(Some(sessions.find(handle).await?)).await?,
        (None, None) => sessions.end_all(None).await?,
    };
    let text = match ended {
        0 if selection.all => sessions.none_found(),
        ended => format!("ended {}", count_of(ended, "session", "sessions")),
    };
    Ok(Report { text, json: json!({ "store": shown_url(config), "scope": sessions.scope, "revoked": ended }) })
}

impl<'a> UserSessions<'a> {
    /// Opens the store. If `ends` is set, the command ends sessions. Such a command needs the cache too, to remove the
    /// sessions from it.
    async fn open(config: &'a Config, User { identity, scope }: &'a User, ends: bool) -> Result<Self> {
        let unsupported = |context: &str| Err(Error::new(ErrorKind::Unsupported, context));
        if config.is_sealed() {
            return unsupported(
                "each session is in its own cookie, so the sessions of a user can be neither listed nor ended: set another \
                 `store`; to end the sessions of all users, replace the secret keys of the site",
            );
        }
        let Some(scope) = scope else {
            return Err(Error::new(
                ErrorKind::Config,
                "missing `--scope`: write the site's package and session struct, such as `--scope \
                 shop::Account`, or the scope in the struct's attribute `#[session(scope = \"…\")]`",
            ));
        };
        let store =
            if ends { open_with_cache(config, Migrate::Off).await? } else { open(config, Migrate::Off, false).await? };
        if !store.has_identity_index() {
            return unsupported(
                "Memcached does not know which sessions belong to a user, so they can be neither listed nor ended: set \
                 another `store`; to end the sessions of all users, restart Memcached",
            );
        }
        Ok(Self { config, store, scope, identity })
    }

    async fn list(&self) -> Result<Vec<(Key, Record)>> {
        with_time_limit(self.config.timeout, self.store.list(self.scope, self.identity)).await
    }

    /// Returns the key of the live session with this handle.
    async fn find(&self, handle: SessionHandle) -> Result<Key> {
        let listed = self.list().await?;
        listed.iter().map(|(key, _)| *key).find(|key| key.handle() == handle).ok_or_else(|| not_found(handle))
    }

    async fn end_one(&self, handle: SessionHandle) -> Result<u64> {
        let key = self.find(handle).await?;
        let revoke = revoke(&*self.store, self.scope, self.identity, key, tombstone_expiry());
        let ended = with_time_limit(self.config.timeout, revoke).await.map_err(|error| unfinished(&error))?;
        // The session may have ended since it was listed.
        ended.map(|_| 1).ok_or_else(|| not_found(handle))
    }

    async fn end_all(&self, kept: Option<Key>) -> Result<u64> {
        let revoke = revoke_all(&*self.store, self.scope, self.identity, kept, tombstone_expiry());
        let ended = with_time_limit(self.config.timeout, revoke).await.map_err(|error| unfinished(&error))?;
        Ok(ended.len() as u64)
    }

    /// Returns the text for a user without live sessions. The user may not exist.
    fn none_found(&self) -> String {
        format!(
            "the user has no live session in the scope `{}`: if that is unexpected, check `--identity` and `--scope`",
            self.scope
        )
    }
}

fn tombstone_expiry() -> Timestamp {
    SystemClock.now().plus(TOMBSTONE_LIFETIME)
}

fn not_found(handle: SessionHandle) -> Error {
    let context = format!(
        "no live session of the user has the handle `{handle}`, so no session was ended: that session ended earlier, or a \
         new login changed its handle; `list` shows the handles, and `--identity` and `--scope` must be those of the session"
    );
    Error::new(ErrorKind::Ended, context)
}

/// Adds to an error that the command may have ended some of the sessions.
fn unfinished(error: &Error) -> Error {
    Error::new(error.kind(), format!("{error:#}; some sessions may have ended: run the command again"))
}

fn text_of(key: &Key, record: &Record, now: Timestamp) -> String {
    let Record { created_at, updated_at, expires_at, payload, .. } = record;
    let ago = |time: &Timestamp| format!("{time} ({} ago)", age(*time, now));
    let (handle, authenticated, saved) = (key.handle(), ago(created_at), ago(updated_at));
    let (left, size) = (age(now, *expires_at), HumanBytes(payload.len() as u64));
    format!(
        "handle         {handle}\nauthenticated  {authenticated}\nlast saved     {saved}\n\
         expires        {expires_at} (in {left})\nsize           {size}"
    )
}

fn json_of(key: &Key, record: &Record) -> Value {
    json!({
        "handle": key.handle(),
        "authenticated_at": record.created_at,
        "last_saved": record.updated_at,
        "expires_at": record.expires_at,
        "bytes": record.payload.len(),
    })
}

#[cfg(test)]
mod tests {
    use session_rocket::Version;

    use super::*;

    #[test]
    fn a_session_is_shown_with_times_and_size_and_without_its_content() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let record = Record::new(Version::from_bits(1), at(266_401))
            .with_scope("shop::Account")
            .with_identity("ada")
            .with_payload(vec![b'x'; 2048])
            .with_times(at(0), at(86_340));
        let key = Key::from_bytes([7; 32]);
        let expected = format!(
            "handle         {}\nauthenticated  1970-01-01T00:00:00Z (1 day ago)\nlast saved     1970-01-01T23:59:00Z \
             (1m 1s ago)\nexpires        1970-01-04T02:00:01Z (in 2 days)\nsize           2.00 KiB",
            key.handle()
        );
        assert_eq!(text_of(&key, &record, at(86_401)), expected);
    }

    #[test]
    fn an_error_of_a_revocation_says_that_some_sessions_may_have_ended() {
        let cause = Error::with_source(ErrorKind::Unavailable, "cannot end a session", "disconnected");
        let error = unfinished(&cause);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let expected = "cannot end a session: disconnected; some sessions may have ended: run the command again";
        assert_eq!(error.to_string(), expected);
    }
}
