//! The server or cluster that keeps the sessions.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ErrorKind as Kind, ServerErrorKind, ToRedisArgs, Value, from_redis_value};

use super::cluster::Cluster;
use super::fault::{CallError, PART_OF_CLUSTER};
use super::node::{Node, command};
use super::script::{Script, Scripts};
use super::url;
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::store::Options;

/// The assumed maximum difference between the clocks of two machines.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// The maximum time for which Redis keeps a key: longer than any session, and too short to overflow in a server.
pub(super) const MAX_RETENTION: Duration = Duration::from_hours(24 * 365 * 100);

/// The server or cluster, and the prefix of the keys.
pub(super) struct Server {
    nodes: Nodes,
    pub scripts: Scripts,
    pub prefix: String,
    pub clock: Arc<dyn Clock>,
    /// The time limit of a store's call, which [`RedisStore`](super::RedisStore) enforces.
    pub timeout: Duration,
}

enum Nodes {
    Single(Arc<Node>),
    Cluster(Box<Cluster>),
}

impl Server {
    /// Creates the server or cluster of `options.url`, without connecting to it.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let timeout = options.timeout;
        let target = url::parse(&options.url, timeout)?;
        if target.is_tls {
            // This fails if the application has already installed a provider. Then that provider is used.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let invalid = || Error::new(ErrorKind::Config, "invalid Redis URL: write `redis://user:password@host:6379/0`");
        let nodes = if target.is_cluster {
            Nodes::Cluster(Box::new(Cluster::new(&target.nodes, timeout).ok_or_else(invalid)?))
        } else {
            let node = target.nodes.into_iter().next().ok_or_else(invalid)?;
            Nodes::Single(Arc::new(Node::new(node, timeout, timeout).map_err(|_| invalid())?))
        };
        let (prefix, clock) = (options.key_prefix.clone(), options.clock.clone());
        Ok(Self { nodes, scripts: Scripts::new(), prefix, clock, timeout })
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.nodes, Nodes::Cluster(_))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs a command on the key `name`.
    pub(super) async fn call(&self, name: &str, command: Cmd) -> Result<Value, CallError> {
        match &self.nodes {
            Nodes::Single(node) => node.call(command).await,
            // Boxed, because this future is large and one server does not need it.
            Nodes::Cluster(cluster) => Box::pin(cluster.call(name.as_bytes(), &command)).await,
        }
    }

    /// Runs a script on the key `name`.
    pub(super) async fn run(
        &self,
        script: &Script,
        name: &str,
        arguments: &(impl ToRedisArgs + Sync),
    ) -> Result<Value, CallError> {
        let by_hash = command(("EVALSHA", &script.hash, 1, name, arguments));
        match self.call(name, by_hash).await {
            Err(CallError::Refused(error)) if error.kind() == Kind::Server(ServerErrorKind::NoScript) => {
                // Boxed, because few calls need it.
                Box::pin(self.call(name, command(("EVAL", script.code, 1, name, arguments)))).await
            }
            reply => reply,
        }
    }

    /// Returns the nodes that keep sessions.
    pub(super) async fn primaries(&self) -> Result<Vec<Arc<Node>>, CallError> {
        match &self.nodes {
            Nodes::Single(node) => Ok(vec![node.clone()]),
            Nodes::Cluster(cluster) => cluster.primaries().await,
        }
    }

    /// Checks that the scheme of the URL fits the kind of server (single server or cluster). Logs a warning if a server may
    /// evict keys, which logs users out.
    pub(super) async fn check_nodes(&self) -> Result<()> {
        for node in self.primaries().await? {
            node.call(command("PING")).await?;
            // The user may not be allowed to call `INFO`.
            let Ok(reply) = node.call(command("INFO")).await else { continue };
            let info: String = from_redis_value(reply).unwrap_or_default();
            let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            if value("cluster_enabled") == Some("1") && !self.is_cluster() {
                return Err(Error::new(ErrorKind::Config, PART_OF_CLUSTER));
            }
            let policy = value("maxmemory_policy").unwrap_or("noeviction");
            if policy != "noeviction" && value("maxmemory").is_some_and(|limit| limit != "0") {
                log::warn!(
                    target: "session_rocket",
                    "this Redis evicts keys when its memory is full (`maxmemory-policy {policy}`), which logs users out: \
                     keep sessions in a Redis with `maxmemory-policy noeviction`"
                );
            }
        }
        Ok(())
    }
}
