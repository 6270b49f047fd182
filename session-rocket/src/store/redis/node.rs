//! The connection to one server. All calls share it, and it is replaced when it becomes unusable.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, PushInfo, PushKind, RedisError, RedisResult, Value};

use super::fault::{CallError, has_code};

/// The time after a failed attempt to connect in which no call tries again.
const BACKOFF: Duration = Duration::from_millis(50);

/// One server.
///
/// The driver matches replies to calls by their order, and discards the reply to a dropped call, so a call may be dropped at
/// any time. The driver has no time limit for a reply; [`PendingCall`] detects a server that no longer replies.
pub(super) struct Node {
    client: Client,
    connect_timeout: Duration,
    /// A connection is replaced if it receives no reply for this long.
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
    /// Whether new calls must use another connection. Calls that have been sent on this one may still get their replies.
    is_closed: bool,
    /// The time of the first call after the last reply.
    silent_since: Option<Instant>,
}

impl Health {
    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    pub(super) fn new(info: ConnectionInfo, connect_timeout: Duration, timeout: Duration) -> RedisResult<Self> {
        Ok(Self {
            client: Client::open(info)?,
            connect_timeout,
            max_silence: timeout / 2,
            connection: Mutex::default(),
            failure: tokio::sync::Mutex::default(),
        })
    }

    /// How the driver connects to this server.
    pub(super) fn info(&self) -> &ConnectionInfo {
        self.client.get_connection_info()
    }

    /// Sends a command, once.
    pub(super) async fn call(&self, command: &Cmd) -> Result<Value, CallError> {
        let (mut driver, pending) = self.begin().await?;
        pending.finish(driver.send_packed_command(command).await)
    }

    /// Sends a command for a slot that this server is importing.
    pub(super) async fn call_asking(&self, command: &Cmd) -> Result<Value, CallError> {
        let (mut driver, pending) = self.begin().await?;
        // Both commands are one message, because `ASKING` applies to the next command on the connection, and other calls use
        // the connection too.
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command.clone());
        let replies = driver.send_packed_commands(&both, 0, 2).await;
        pending.finish(replies.map(|mut replies| replies.pop().unwrap_or(Value::Nil)))
    }

    async fn begin(&self) -> Result<(MultiplexedConnection, PendingCall), CallError> {
        let Connection { driver, health } = self.connection().await.map_err(CallError::NotSent)?;
        health.state().silent_since.get_or_insert_with(Instant::now);
        Ok((driver, PendingCall { health, max_silence: self.max_silence }))
    }

    /// The connection, unless it is closed.
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
        let connection = self.connect().await.inspect_err(|error| *failure = Some((Instant::now(), error.clone())))?;
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

/// A call that waits for its reply.
///
/// A call is dropped by the timeout of the store or by its caller. If the connection has then received nothing for
/// `max_silence`, the call closes the connection, because the server may be down. The next call opens a new connection.
struct PendingCall {
    health: Health,
    max_silence: Duration,
}

impl PendingCall {
    fn finish(self, reply: RedisResult<Value>) -> Result<Value, CallError> {
        let mut state = self.health.state();
        // A reply has arrived, so dropping this call must not close the connection.
        state.silent_since = None;
        let value = reply.map_err(|error| {
            state.is_closed = true;
            CallError::Lost(error)
        })?;
        value.extract_error().map_err(|error| {
            // The primary has become a replica. A new connection to its host name may lead to the new primary.
            if has_code(&error, "READONLY") {
                state.is_closed = true;
            }
            CallError::Refused(error)
        })
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        let mut state = self.health.state();
        if state.silent_since.is_some_and(|since| since.elapsed() >= self.max_silence) {
            state.is_closed = true;
        }
    }
}
