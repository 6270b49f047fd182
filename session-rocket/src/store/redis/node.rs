//! One server: a connection that many calls share, and that is replaced when it is of no use any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, PushInfo, PushKind, RedisError, RedisResult, Value};

use super::fault::{self, Trouble};

/// After a failure to connect, for so long nobody tries again.
const BACKOFF: Duration = Duration::from_millis(50);

/// One server.
///
/// The driver matches replies to calls by their order, and takes the reply of a call that was dropped from the line,
/// so a call may be dropped at any time. But it waits for a reply for ever: see [`Watch`].
pub(super) struct Node {
    client: Client,
    /// How long making a connection may take.
    reach: Duration,
    /// A call that waits for so long in vain has found a connection that is of no use.
    patience: Duration,
    line: Mutex<Option<Line>>,
    /// Held by the one call that makes a connection for all; when the last try failed, and how.
    failure: tokio::sync::Mutex<Option<(Instant, RedisError)>>,
}

#[derive(Clone)]
struct Line {
    connection: MultiplexedConnection,
    health: Arc<Health>,
}

/// What is known of a connection.
#[derive(Default)]
struct Health {
    /// Takes no more calls: it was closed, or nothing comes back. Calls that have it still may get their replies.
    is_over: AtomicBool,
    /// Since when calls have been sent, and none answered.
    silent_since: Mutex<Option<Instant>>,
}

impl Health {
    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn silent_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    pub(super) fn new(info: ConnectionInfo, reach: Duration, timeout: Duration) -> RedisResult<Self> {
        let client = Client::open(info)?;
        Ok(Self {
            client,
            reach,
            patience: timeout / 2,
            line: Mutex::default(),
            failure: tokio::sync::Mutex::default(),
        })
    }

    /// Sends a command, once.
    pub(super) async fn call(&self, command: &Cmd) -> Result<Value, Trouble> {
        let Line { mut connection, health } = self.line().await.map_err(Trouble::Unreached)?;
        let mut watch = Watch::new(health, self.patience);
        let answer = connection.send_packed_command(command).await;
        watch.end(answer)
    }

    /// Sends a command for a slot that is just being moved here.
    pub(super) async fn call_asking(&self, command: &Cmd) -> Result<Value, Trouble> {
        let Line { mut connection, health } = self.line().await.map_err(Trouble::Unreached)?;
        let mut watch = Watch::new(health, self.patience);
        // In one go: `ASKING` holds for the very next command of the connection, whoever's that is.
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command.clone());
        let answer = connection.send_packed_commands(&both, 0, 2).await;
        watch.end(answer.map(|mut answers| answers.pop().unwrap_or(Value::Nil)))
    }

    fn current(&self) -> Option<Line> {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.as_ref().filter(|line| !line.health.is_over()).cloned()
    }

    async fn line(&self) -> RedisResult<Line> {
        if let Some(line) = self.current() {
            return Ok(line);
        }
        let mut failure = self.failure.lock().await;
        if let Some(line) = self.current() {
            return Ok(line);
        }
        if let Some((when, error)) = &*failure
            && when.elapsed() < BACKOFF
        {
            return Err(error.clone());
        }
        match self.connect().await {
            Ok(line) => {
                *self.line.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.clone());
                Ok(line)
            }
            Err(error) => {
                *failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> RedisResult<Line> {
        let health = Arc::new(Health::default());
        // The store's own timeout ends calls.
        let mut config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(self.reach)).set_response_timeout(None);
        if self.client.get_connection_info().redis_settings().protocol().supports_resp3() {
            let ends = health.clone();
            config = config.set_push_sender(move |told: PushInfo| {
                if told.kind == PushKind::Disconnection {
                    ends.end();
                }
                Ok::<(), ()>(())
            });
        }
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Line { connection, health })
    }
}

/// Watches a call that waits for its reply. Where it is dropped, by this store's timeout or its caller's, and nothing has
/// come back on the connection for long, that is done with: behind it may be nobody. The next call makes a new one.
struct Watch {
    health: Arc<Health>,
    patience: Duration,
    has_answer: bool,
}

impl Watch {
    fn new(health: Arc<Health>, patience: Duration) -> Self {
        health.silent_since().get_or_insert_with(Instant::now);
        Self { health, patience, has_answer: false }
    }

    fn end(&mut self, answer: RedisResult<Value>) -> Result<Value, Trouble> {
        self.has_answer = true;
        let answer = answer.map_err(|error| {
            self.health.end();
            Trouble::Lost(error)
        })?;
        *self.health.silent_since() = None;
        answer.extract_error().map_err(|error| {
            // The primary became a replica: its name may lead to another by now.
            if fault::says(&error, "READONLY") {
                self.health.end();
            }
            Trouble::Refused(error)
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let is_long = |since: Instant| since.elapsed() >= self.patience;
        if !self.has_answer && self.health.silent_since().is_some_and(is_long) {
            self.health.end();
        }
    }
}
