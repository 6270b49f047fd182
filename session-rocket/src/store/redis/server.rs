//! The server or cluster that keeps the sessions.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ErrorKind as Kind, ServerErrorKind, Value, cmd, from_redis_value};

use super::cluster::Cluster;
use super::fault::{CallError, PART_OF_CLUSTER};
use super::node::Node;
use super::script::Script;
use super::url::Target;
use crate::base::error::{Error, ErrorKind, Result};

/// One server, or the nodes of a cluster.
pub(super) enum Server {
    Single(Arc<Node>),
    Cluster(Box<Cluster>),
}

impl Server {
    /// The server or cluster of a URL, which is not connected yet. Its calls have the time limit `timeout`.
    pub(super) fn new(target: Target, timeout: Duration) -> Result<Self> {
        let invalid = || Error::new(ErrorKind::Config, "the URL names no Redis server");
        if target.is_cluster {
            let cluster = Cluster::new(&target.nodes, timeout).ok_or_else(invalid)?;
            return Ok(Self::Cluster(Box::new(cluster)));
        }
        let node = target.nodes.into_iter().next().ok_or_else(invalid)?;
        Node::new(node, timeout, timeout).map(|node| Self::Single(Arc::new(node))).map_err(|_| invalid())
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Runs a command on the key `name`.
    pub(super) async fn call(&self, name: &str, command: &Cmd) -> Result<Value, CallError> {
        match self {
            Self::Single(node) => node.call(command).await,
            Self::Cluster(cluster) => cluster.call(name.as_bytes(), command).await,
        }
    }

    /// Runs a script on the key `name`.
    pub(super) async fn run(&self, script: &Script, name: &str, arguments: &[&[u8]]) -> Result<Value, CallError> {
        match self.call(name, &script.by_hash(name, arguments)).await {
            Err(CallError::Refused(error)) if error.kind() == Kind::Server(ServerErrorKind::NoScript) => {
                self.call(name, &script.in_full(name, arguments)).await
            }
            reply => reply,
        }
    }

    /// The nodes that keep sessions.
    pub(super) async fn primaries(&self) -> Result<Vec<Arc<Node>>, CallError> {
        match self {
            Self::Single(node) => Ok(vec![node.clone()]),
            Self::Cluster(cluster) => cluster.primaries().await,
        }
    }

    /// Checks at launch that the URL names the right kind of server. Warns of a server that may evict keys, because evicting
    /// a session logs a user out.
    pub(super) async fn check(&self) -> Result<()> {
        for node in self.primaries().await? {
            node.call(&cmd("PING")).await?;
            // The user may lack the right to call `INFO`.
            let Ok(reply) = node.call(&cmd("INFO")).await else { continue };
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
