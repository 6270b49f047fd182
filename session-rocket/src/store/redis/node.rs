//! One server, and the groups in which commands are sent to it.
//!
//! If no command is running, a command is sent immediately. Otherwise the first command of a group starts a task. The task lets
//! every task that is ready run, and then sends the commands that these tasks have added. So the busier the site, the larger
//! the groups, and no timer collects commands. A group does not wait for the replies to earlier groups. Each command gets its own
//! reply, and an error of one command fails no other command.

use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, ConnectionInfo, ErrorKind as Kind, Pipeline, RedisError, RedisResult, ToRedisArgs, Value, cmd};
use tokio::sync::oneshot::{Sender, channel};
use tokio::time::timeout;

use super::connection::SharedConnection;
use super::fault::CallError;

/// The largest number of commands in a group. The first reply of a group is delivered after the last one has arrived.
const MAX_GROUP: usize = 32;

/// How often a group that waits for its replies checks whether a caller still waits.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// One server.
///
/// A call may be dropped at any time. Its command may still be run.
pub(super) struct Node {
    connection: SharedConnection,
    /// The number of calls that have no reply yet.
    running: AtomicUsize,
    /// The commands that the next group sends. If there are any, a [`Leader`] will send them.
    waiting: Mutex<Vec<Waiting>>,
}

struct Waiting {
    command: Cmd,
    /// Dropped without a reply if the group was not sent, or if it is unknown whether it was run.
    reply: Sender<Result<Value, CallError>>,
}

/// Sends the next group. If the leader is dropped before it starts, the waiting commands fail.
struct Leader {
    node: Arc<Node>,
    has_started: bool,
}

/// A call without a reply. Dropping it ends the call.
struct Running<'n> {
    node: &'n Node,
    is_alone: bool,
}

impl<'n> Running<'n> {
    fn begin(node: &'n Node) -> Self {
        Self { node, is_alone: node.running.fetch_add(1, Ordering::Relaxed) == 0 }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.node.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Builds a command from its name and its arguments.
pub(super) fn command(name_and_arguments: impl ToRedisArgs) -> Cmd {
    // The command of a typical save fits into this buffer.
    let mut command = Cmd::with_capacity(8, 512);
    command.arg(name_and_arguments);
    command
}

impl Node {
    pub(super) fn new(info: ConnectionInfo, connect_timeout: Option<Duration>, timeout: Duration) -> RedisResult<Self> {
        let connection = SharedConnection::new(info, connect_timeout, timeout / 2)?;
        Ok(Self { connection, running: AtomicUsize::new(0), waiting: Mutex::default() })
    }

    /// How the driver connects to this server.
    pub(super) fn info(&self) -> &ConnectionInfo {
        self.connection.info()
    }

    /// Sends a command, once.
    pub(super) async fn call(self: &Arc<Self>, command: Cmd) -> Result<Value, CallError> {
        let _check = self.connection.check_on_drop();
        let running = Running::begin(self);
        if running.is_alone {
            // A group would save nothing, and its task would delay the command.
            let mut alone = Pipeline::with_capacity(1);
            alone.add_command(command);
            return self.last_reply(&alone).await;
        }
        let (reply, receiver) = channel();
        self.add(Waiting { command, reply });
        receiver.await.unwrap_or_else(|_| Err(interrupted()))
    }

    /// Sends a command for a slot that this server is importing.
    pub(super) async fn call_asking(&self, command: Cmd) -> Result<Value, CallError> {
        let _check = self.connection.check_on_drop();
        // Both commands are one message, because `ASKING` applies to the next command on the connection, and other calls use
        // the connection too.
        let mut both = Pipeline::with_capacity(2);
        both.add_command(cmd("ASKING")).add_command(command);
        self.last_reply(&both).await
    }

    /// Sends commands in one message, and returns the reply to the last one.
    async fn last_reply(&self, commands: &Pipeline) -> Result<Value, CallError> {
        self.connection.send(commands).await?.pop().unwrap_or_else(|| Err(interrupted()))
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command to the next group, and starts a leader for the first one.
    fn add(self: &Arc<Self>, command: Waiting) {
        let is_first = {
            let mut waiting = self.waiting();
            waiting.push(command);
            waiting.len() == 1
        };
        if is_first {
            tokio::spawn(Leader { node: self.clone(), has_started: false }.serve());
        }
    }

    /// Sends a group, and waits for its replies until all callers have gone away.
    async fn send(self: Arc<Self>, group: Vec<Waiting>) {
        let mut commands = Pipeline::with_capacity(group.len());
        let mut callers = Vec::with_capacity(group.len());
        for Waiting { command, reply } in group {
            commands.add_command(command);
            callers.push(reply);
        }
        let mut sending = pin!(self.connection.send(&commands));
        let replies = loop {
            match timeout(CHECK_INTERVAL, &mut sending).await {
                Ok(replies) => break replies,
                Err(_) if callers.iter().all(Sender::is_closed) => return,
                Err(_) => {}
            }
        };
        let mut replies = replies.map(Vec::into_iter);
        for caller in callers {
            let reply = match &mut replies {
                Ok(replies) => replies.next().unwrap_or_else(|| Err(interrupted())),
                Err(error) => Err(error.clone()),
            };
            // This fails if the caller has gone away.
            let _ = caller.send(reply);
        }
    }
}

impl Leader {
    async fn serve(mut self) {
        tokio::task::yield_now().await;
        self.has_started = true;
        let mut group = mem::take(&mut *self.node.waiting());
        group.retain(|waiting| !waiting.reply.is_closed());
        while group.len() > MAX_GROUP {
            let rest = group.split_off(MAX_GROUP);
            tokio::spawn(self.node.clone().send(mem::replace(&mut group, rest)));
        }
        if !group.is_empty() {
            self.node.clone().send(group).await;
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.has_started {
            let waiting = mem::take(&mut *self.node.waiting());
            drop(waiting);
        }
    }
}

/// The error of a command whose group ended without a reply, because the runtime is shutting down.
fn interrupted() -> CallError {
    CallError::Lost(RedisError::from((Kind::Io, "the call stopped before it finished")))
}
