//! Finds the node of a cluster that has a key. A cluster divides all keys into slots, which can move between nodes.
//!
//! The driver's own cluster connection is not suitable. While it asks a node for the owners of the slots, it delays the
//! calls to all nodes, even with `retries(0)`. If that node hangs, the delay is the time limit of a reply. The driver
//! cannot follow a slot to a node that has no slots yet, and does not say whether a failed command was sent. In this
//! module, a call waits only for the owner of its slot, if that node is known. A command is sent again only if it
//! certainly was not run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::select_ok;
use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, ErrorKind as Kind, FromRedisValue, RedisError, RedisResult, ServerErrorKind,
    Value, from_redis_value,
};

use super::fault::CallError;
use super::node::{Node, command};

const SLOTS: u16 = 16384;
/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(100);
/// The number of nodes that are asked for the owners of the slots at the same time. The first success is used.
const NODES_ASKED: usize = 8;

type Address = (String, u16);

pub(super) struct Cluster {
    /// The connection settings of all nodes, with the address of one node.
    template: ConnectionInfo,
    seeds: Vec<Address>,
    timeout: Duration,
    map: Mutex<Map>,
    /// When the last successful request for the owners began. A call holds the lock while it asks.
    slots_known_at: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Map {
    nodes: HashMap<Address, Arc<Node>>,
    /// For each slot, the node that has it, if that node is known.
    owners: Vec<Option<Arc<Node>>>,
    /// The position of the first node that the next request for the owners asks.
    next_asked: usize,
}

/// The first and the last slot of a range, and the addresses of its primary and replicas.
type Range = (u16, u16, Vec<Address>);

impl Cluster {
    /// Creates a cluster with the known nodes `seeds`, without connecting to them. Returns `None` if `seeds` is empty.
    pub(super) fn new(seeds: &[ConnectionInfo], timeout: Duration) -> Option<Self> {
        let template = seeds.first()?.clone();
        let seeds = seeds.iter().filter_map(|seed| address(seed.addr())).collect();
        Some(Self { template, seeds, timeout, map: Mutex::default(), slots_known_at: tokio::sync::Mutex::default() })
    }

    /// Runs a command at the node that has `key`.
    pub(super) async fn call(&self, key: &[u8], command: &Cmd) -> Result<Value, CallError> {
        let slot = slot(key);
        let mut pause = Duration::ZERO;
        // The target of an `ASK` redirection, for one attempt: a node that is importing the slot and already has the key.
        let mut importing: Option<Arc<Node>> = None;
        loop {
            let began = Instant::now();
            let (node, reply) = match importing.take() {
                Some(node) => (node.clone(), node.call_asking(command.clone()).await),
                None => {
                    let node = self.owner(slot).await?;
                    (node.clone(), node.call(command.clone()).await)
                }
            };
            match reply {
                Err(CallError::NotSent(_)) => self.refresh_slots(began).await?,
                Err(CallError::Refused(error)) if is_temporary(&error) => match self.redirected(&node, &error)? {
                    Some(node) if error.kind() == Kind::Server(ServerErrorKind::Ask) => importing = Some(node),
                    Some(node) => {
                        self.refresh_slots(began).await?;
                        // The node that replied to `refresh_slots` may not know yet that the slot has moved.
                        self.set_owner(slot, node);
                    }
                    None => self.refresh_slots(began).await?,
                },
                // A command whose reply was lost may have been run, so only the caller can decide whether to send it again.
                reply => return reply,
            }
            tokio::time::sleep(pause).await;
            pause = (pause + MAX_PAUSE / 10).min(MAX_PAUSE);
        }
    }

    /// Returns the nodes that have slots.
    pub(super) async fn primaries(&self) -> Result<Vec<Arc<Node>>, CallError> {
        self.refresh_slots(Instant::now()).await?;
        let mut primaries: Vec<Arc<Node>> = self.map().owners.iter().flatten().cloned().collect();
        // Sorted, because the slots of one node need not be adjacent.
        primaries.sort_unstable_by_key(Arc::as_ptr);
        primaries.dedup_by(|one, other| Arc::ptr_eq(one, other));
        Ok(primaries)
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn owner(&self, slot: u16) -> Result<Arc<Node>, CallError> {
        let known = || self.map().owners.get(usize::from(slot)).cloned().flatten();
        if let Some(owner) = known() {
            return Ok(owner);
        }
        self.refresh_slots(Instant::now()).await?;
        known().ok_or_else(|| cluster_down("no node of the cluster has the slot of the key"))
    }

    fn set_owner(&self, slot: u16, node: Arc<Node>) {
        if let Some(owner) = self.map().owners.get_mut(usize::from(slot)) {
            *owner = Some(node);
        }
    }

    /// Asks which node has which slot, unless another call has successfully asked after `since`.
    async fn refresh_slots(&self, since: Instant) -> Result<(), CallError> {
        let mut slots_known_at = self.slots_known_at.lock().await;
        if slots_known_at.is_some_and(|known_at| known_at >= since) {
            return Ok(());
        }
        let began = Instant::now();
        let nodes = self.some_nodes().map_err(CallError::NotSent)?;
        let (ranges, _) = select_ok(nodes.into_iter().map(|node| Box::pin(ask_for_slots(node)))).await?;
        self.replace_slot_map(ranges).map_err(CallError::NotSent)?;
        *slots_known_at = Some(began);
        Ok(())
    }

    /// Returns some of the seeds and known nodes, to ask them for the owners. Each call returns the next nodes.
    fn some_nodes(&self) -> RedisResult<Vec<Arc<Node>>> {
        let mut map = self.map();
        let mut addresses = self.seeds.clone();
        addresses.extend(map.nodes.keys().filter(|address| !self.seeds.contains(address)).cloned());
        let first = map.next_asked % addresses.len().max(1);
        map.next_asked = first + NODES_ASKED;
        addresses.rotate_left(first);
        addresses.iter().take(NODES_ASKED).map(|address| self.node(&mut map, address)).collect()
    }

    /// Returns the node at `address`. Adds it to `map` if it is new.
    fn node(&self, map: &mut Map, address: &Address) -> RedisResult<Arc<Node>> {
        if let Some(node) = map.nodes.get(address) {
            return Ok(node.clone());
        }
        let mut location = self.template.addr().clone();
        if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } = &mut location {
            (*host, *port) = address.clone();
        }
        let info = self.template.clone().set_addr(location);
        // Connecting has a short limit, which leaves time to find the successor of a node that hangs.
        let node = Arc::new(Node::new(info, self.timeout / 4, self.timeout)?);
        map.nodes.insert(address.clone(), node.clone());
        Ok(node)
    }

    fn replace_slot_map(&self, ranges: Vec<Range>) -> RedisResult<()> {
        let mut map = self.map();
        let is_known = |address: &Address| ranges.iter().any(|(.., addresses)| addresses.contains(address));
        map.nodes.retain(|address, _| is_known(address) || self.seeds.contains(address));
        let mut owners = vec![None; usize::from(SLOTS)];
        for (first, last, addresses) in &ranges {
            // The first address is the primary. Replicas are added to the map too, because each may become a primary.
            let nodes =
                addresses.iter().map(|address| self.node(&mut map, address)).collect::<RedisResult<Vec<_>>>()?;
            let range = usize::from(*first)..=usize::from((*last).min(SLOTS - 1));
            owners.get_mut(range).unwrap_or_default().fill(nodes.into_iter().next());
        }
        map.owners = owners;
        Ok(())
    }

    /// Returns the node to which `from` redirects with `error`, or `None` if `error` is not a redirection.
    fn redirected(&self, from: &Node, error: &RedisError) -> Result<Option<Arc<Node>>, CallError> {
        let Some((target, _)) = error.redirect_node() else { return Ok(None) };
        let (host, port) = target
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)))
            .ok_or_else(|| cluster_down("a node redirects to an invalid address"))?;
        // An empty host means the host of the node that redirects.
        let host = if host.is_empty() { host_of(from) } else { host };
        self.node(&mut self.map(), &(host, port)).map(Some).map_err(CallError::NotSent)
    }
}

/// Whether a node refused a command for a temporary reason.
fn is_temporary(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        Kind::Server(
            ServerErrorKind::Ask
                | ServerErrorKind::Moved
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly
        )
    )
}

fn cluster_down(reason: &'static str) -> CallError {
    CallError::NotSent(RedisError::from((Kind::Server(ServerErrorKind::ClusterDown), reason)))
}

fn address(location: &ConnectionAddr) -> Option<Address> {
    match location {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Some((host.clone(), *port)),
        _ => None,
    }
}

fn host_of(node: &Node) -> String {
    address(node.info().addr()).map(|(host, _)| host).unwrap_or_default()
}

async fn ask_for_slots(node: Arc<Node>) -> Result<Vec<Range>, CallError> {
    let reply = node.call(command(("CLUSTER", "SLOTS"))).await?;
    let rows: Vec<Vec<Value>> = from_redis_value(reply).map_err(|error| CallError::Refused(error.into()))?;
    let host = host_of(&node);
    let ranges: Vec<Range> = rows.into_iter().filter_map(|row| range(row, &host)).collect();
    // Without ranges, the node has not joined a cluster yet, or has left it.
    if ranges.is_empty() { Err(cluster_down("a node reports no slots")) } else { Ok(ranges) }
}

/// Reads a row of `CLUSTER SLOTS`. A row without a host means the host `asked`, which sent the row.
fn range(row: Vec<Value>, asked: &str) -> Option<Range> {
    let mut row = row.into_iter();
    let first = u16::from_redis_value(row.next()?).ok()?;
    let last = u16::from_redis_value(row.next()?).ok()?;
    let address = |value: Value| {
        let mut parts = Vec::<Value>::from_redis_value(value).ok()?.into_iter();
        let host = Option::<String>::from_redis_value(parts.next()?).ok()?.unwrap_or_default();
        let port = u16::from_redis_value(parts.next()?).ok()?;
        let host = if host.is_empty() { asked.to_owned() } else { host };
        (host != "?").then_some((host, port))
    };
    let mut addresses = row.map(address);
    // A range without the primary's address is skipped, so that a replica is not used as the primary.
    let primary = addresses.next()??;
    Some((first, last, std::iter::once(primary).chain(addresses.flatten()).collect()))
}

/// Returns the slot of a key: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tag>.
fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

#[cfg(test)]
mod tests;
