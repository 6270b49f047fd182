//! The connection to one server. All calls share the connection. A call replaces an unusable connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, Pipeline, PushInfo, PushKind, RedisError, RedisResult, Value,
};

use super::fault::{CallError, has_code};

/// After a failed attempt to connect, calls fail for this time without another attempt.
const BACKOFF: Duration = Duration::from_millis(50);

/// The connection to one server.
///
/// A message consists of one or more commands. A call may drop a message at any time, because the driver matches replies
/// to commands by their order, and discards the replies to a dropped message. The driver has no time limit for a reply,
/// so [`SilenceCheck`] detects a silent server.
pub(super) struct SharedConnection {
    client: Client,
    /// The time limit of an attempt to connect. The attempt also ends if the call or group that makes it is dropped.
    connect_timeout: Duration,
    /// A connection is replaced if it receives no reply for this long although a reply is missing.
    max_silence: Duration,
    connection: Mutex<Option<Connection>>,
    /// The time and error of the last failed attempt to connect. A call holds the lock during its attempt.
    failure: tokio::sync::Mutex<Option<(Instant, RedisError)>>,
}

#[derive(Clone)]
struct Connection {
    driver: MultiplexedConnection,
    health: Health,
}

#[derive(Clone, Default)]
struct Health(Arc<Mutex<HealthState>>);

#[derive(Default)]
struct HealthState {
    /// Whether new calls must use another connection. Earlier calls may still get their replies.
    is_closed: bool,
    /// The number of messages whose sender still waits for the replies.
    waiting: usize,
    /// When the silence began: since then, replies are missing and none has arrived. `None` if none is missing. Dropping
    /// a message does not reset this time, so that calls that are dropped early also detect a silent server.
    silent_since: Option<Instant>,
}

/// Counts a message as waiting until this value is dropped.
struct WaitingMessage<'h>(&'h Health);

impl<'h> WaitingMessage<'h> {
    fn begin(health: &'h Health) -> Self {
        let mut state = health.state();
        state.waiting += 1;
        state.silent_since.get_or_insert_with(Instant::now);
        Self(health)
    }
}

impl Drop for WaitingMessage<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl Health {
    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HealthState {
    fn read(&mut self, reply: Value) -> Result<Value, CallError> {
        reply.extract_error().map_err(|error| {
            // The primary has become a replica. A new connection to its host name may lead to the new primary.
            if has_code(&error, "READONLY") {
                self.is_closed = true;
            }
            CallError::Refused(error)
        })
    }
}

impl SharedConnection {
    pub(super) fn new(info: ConnectionInfo, connect_timeout: Duration, max_silence: Duration) -> RedisResult<Self> {
        Ok(Self {
            client: Client::open(info)?,
            connect_timeout,
            max_silence,
            connection: Mutex::default(),
            failure: tokio::sync::Mutex::default(),
        })
    }

    /// How the driver connects to this server.
    pub(super) fn info(&self) -> &ConnectionInfo {
        self.client.get_connection_info()
    }

    /// Sends commands in one message, once. Returns a reply for each command.
    pub(super) async fn send(&self, commands: &Pipeline) -> Result<Vec<Result<Value, CallError>>, CallError> {
        let Connection { mut driver, health } = self.connection().await.map_err(CallError::NotSent)?;
        let _waiting = WaitingMessage::begin(&health);
        let replies = driver.send_packed_commands(commands, 0, commands.len()).await;
        let mut state = health.state();
        state.silent_since = (state.waiting > 1).then(Instant::now);
        let replies = replies.map_err(|error| {
            state.is_closed = true;
            CallError::Lost(error)
        })?;
        Ok(replies.into_iter().map(|value| state.read(value)).collect())
    }

    /// Returns a guard that a call holds while it waits for its reply.
    pub(super) fn check_silence_on_drop(&self) -> SilenceCheck<'_> {
        SilenceCheck(self)
    }

    /// Returns the connection, unless it is closed.
    fn open_connection(&self) -> Option<Connection> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.as_ref().filter(|connection| !connection.health.state().is_closed).cloned()
    }

    async fn connection(&self) -> RedisResult<Connection> {
        if let Some(connection) = self.open_connection() {
            return Ok(connection);
        }
        let mut failure = self.failure.lock().await;
        if let Some(connection) = self.open_connection() {
            return Ok(connection);
        }
        if let Some((when, error)) = &*failure
            && when.elapsed() < BACKOFF
        {
            return Err(error.clone());
        }
        // Boxed, because this future is large and few calls need it.
        let connection =
            Box::pin(self.connect()).await.inspect_err(|error| *failure = Some((Instant::now(), error.clone())))?;
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }

    async fn connect(&self) -> RedisResult<Connection> {
        let health = Health::default();
        // No time limit for replies, because the store limits the time of a call.
        let mut config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(self.connect_timeout)).set_response_timeout(None);
        if self.info().redis_settings().protocol().supports_resp3() {
            let health = health.clone();
            config = config.set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    health.state().is_closed = true;
                }
                Ok::<(), ()>(())
            });
        }
        let driver = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Connection { driver, health })
    }
}

/// Closes the connection when a call ends, if the connection has received no reply for `max_silence`.
///
/// A call also ends if a timeout drops it. The server may be down, so the next call opens a new connection.
pub(super) struct SilenceCheck<'a>(&'a SharedConnection);

impl Drop for SilenceCheck<'_> {
    fn drop(&mut self) {
        let connection = self.0.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Connection { health, .. }) = &*connection else { return };
        let mut state = health.state();
        if state.silent_since.is_some_and(|since| since.elapsed() >= self.0.max_silence) {
            state.is_closed = true;
        }
    }
}
