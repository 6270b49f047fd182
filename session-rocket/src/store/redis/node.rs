//! One server, and the groups in which commands are sent to it.
//!
//! If no call is running, a command is sent immediately. Otherwise, the command waits, and the first waiting command
//! starts a task. The task goes to the end of its thread's queue, so that other ready tasks can add commands. Then it sends
//! all waiting commands in groups of at most [`MAX_GROUP`]. A group is one message, and does not wait for the replies to
//! earlier groups. Each command gets its own reply or error. If the connection is lost, every call of the group fails.

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use redis::{Cmd, ConnectionInfo, ErrorKind as Kind, Pipeline, RedisError, RedisResult, ToRedisArgs, Value, cmd};
use tokio::sync::oneshot::{Sender, channel};
use tokio::time::{Instant, timeout};

use super::connection::SharedConnection;
use super::fault::CallError;

/// The maximum number of commands in a group. The driver delivers the replies of a group together, so a larger group
/// delays its first reply.
const MAX_GROUP: usize = 32;

/// If commands have waited this long, the next caller sends them, because their task may be stuck: its runtime may have
/// stopped, or a caller may block its thread. Without a next caller, the commands wait until their calls time out.
const MAX_DELAY: Duration = Duration::from_millis(10);

/// The interval at which a group checks whether any of its callers still waits.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// One server.
///
/// A call may be dropped at any time, but the server may still run its command.
pub(super) struct Node {
    connection: SharedConnection,
    /// The number of calls that have no reply yet.
    running: AtomicUsize,
    next: Mutex<NextGroup>,
}

/// The waiting commands, which the next group sends.
struct NextGroup {
    commands: Vec<Waiting>,
    /// When the first command was added.
    since: Instant,
}

struct Waiting {
    command: Cmd,
    /// Sends the reply to the caller. Dropped if the group's task stops, for example because its runtime shuts down.
    reply: Sender<Result<Value, CallError>>,
}

/// Counts a call as running until this value is dropped.
struct RunningCall<'n> {
    node: &'n Node,
    is_alone: bool,
}

impl<'n> RunningCall<'n> {
    fn begin(node: &'n Node) -> Self {
        Self { node, is_alone: node.running.fetch_add(1, Ordering::Relaxed) == 0 }
    }
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.node.running.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn command(name_and_arguments: impl ToRedisArgs) -> Cmd {
    // The command of a typical save fits into this buffer.
    let mut command = Cmd::with_capacity(8, 512);
    command.arg(name_and_arguments);
    command
}

impl Node {
    pub(super) fn new(info: ConnectionInfo, connect_timeout: Duration, timeout: Duration) -> RedisResult<Self> {
        let connection = SharedConnection::new(info, connect_timeout, timeout / 2)?;
        let next = NextGroup { commands: Vec::new(), since: Instant::now() };
        Ok(Self { connection, running: AtomicUsize::new(0), next: Mutex::new(next) })
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        self.connection.info()
    }

    /// Sends a command, once.
    pub(super) async fn call(self: &Arc<Self>, command: Cmd) -> Result<Value, CallError> {
        let _check = self.connection.check_silence_on_drop();
        let running = RunningCall::begin(self);
        if running.is_alone {
            // A group would save nothing, and its task would delay the command.
            let mut alone = Pipeline::with_capacity(1);
            alone.add_command(command);
            // Boxed, because this future is large and calls in a group do not need it.
            return Box::pin(self.last_reply(&alone)).await;
        }
        let (reply, receiver) = channel();
        self.add(Waiting { command, reply });
        receiver.await.unwrap_or_else(|_| Err(interrupted()))
    }

    /// Sends a command for a slot that this server is importing.
    pub(super) async fn call_asking(&self, command: Cmd) -> Result<Value, CallError> {
        let _check = self.connection.check_silence_on_drop();
        // Both commands are one message, because `ASKING` applies to the next command on the connection, and other calls
        // use the same connection.
        let mut both = Pipeline::with_capacity(2);
        both.add_command(cmd("ASKING")).add_command(command);
        self.last_reply(&both).await
    }

    /// Sends commands in one message, and returns the reply to the last one.
    async fn last_reply(&self, commands: &Pipeline) -> Result<Value, CallError> {
        self.connection.send(commands).await?.pop().unwrap_or_else(|| Err(interrupted()))
    }

    fn next(&self) -> MutexGuard<'_, NextGroup> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command to the next group. Starts a task that sends the group, unless one exists.
    fn add(self: &Arc<Self>, waiting: Waiting) {
        let (is_first, is_late) = {
            let mut next = self.next();
            let is_first = next.commands.is_empty();
            if is_first {
                next.since = Instant::now();
            }
            next.commands.push(waiting);
            (is_first, next.since.elapsed() >= MAX_DELAY)
        };
        let node = self.clone();
        if is_late {
            tokio::spawn(node.send_waiting());
        } else if is_first {
            tokio::spawn(async {
                go_to_the_end_of_the_queue().await;
                node.send_waiting().await;
            });
        }
    }

    async fn send_waiting(self: Arc<Self>) {
        let mut group = mem::take(&mut self.next().commands);
        group.retain(|waiting| !waiting.reply.is_closed());
        while group.len() > MAX_GROUP {
            let rest = group.split_off(MAX_GROUP);
            tokio::spawn(self.clone().send(mem::replace(&mut group, rest)));
        }
        if !group.is_empty() {
            self.send(group).await;
        }
    }

    /// Sends a group and waits for its replies. Stops early if all callers have gone away.
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

/// Moves this task behind the ready tasks. Unlike [`tokio::task::yield_now`], lets another worker thread take the task,
/// even if a request handler blocks this thread.
async fn go_to_the_end_of_the_queue() {
    let mut is_second_poll = false;
    poll_fn(|context| {
        if mem::replace(&mut is_second_poll, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The error of a call whose group stopped.
fn interrupted() -> CallError {
    CallError::Lost(RedisError::from((Kind::Io, "the call stopped before it finished")))
}
