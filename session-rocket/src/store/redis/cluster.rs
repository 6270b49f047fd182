//! A cluster: which node a key is at, and how to go on while that changes.
//!
//! The driver's own connection to a cluster sends a command again when its connection is lost or its reply is late,
//! and cannot be told not to without that it no longer follows a slot either; and it asks a node that hangs for ever,
//! though the others have long replaced it. Here a command is sent again only where it was certainly not run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::select_ok;
use redis::{
    ConnectionAddr, ConnectionInfo, ErrorKind as Kind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, Value,
    from_redis_value,
};

use super::fault::Trouble;
use super::node::Node;

const SLOTS: u16 = 16384;
/// So long is waited between two tries at most.
const PAUSE: Duration = Duration::from_millis(100);
/// So many nodes are asked for the slots at once: who has the answer first is believed.
const ASKED: usize = 8;

type Address = (String, u16);

/// The nodes of a cluster.
pub(super) struct Cluster {
    /// How to connect to any of them.
    template: ConnectionInfo,
    seeds: Vec<Address>,
    timeout: Duration,
    map: Mutex<Map>,
    /// Held by the one call that asks for the slots for all; when that last went well.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Map {
    nodes: HashMap<Address, Arc<Node>>,
    owners: Vec<Option<Arc<Node>>>,
    /// Whose turn it is to be asked.
    turn: usize,
}

/// The first and the last slot of a range, and where it is: its primary, then the replicas.
type Range = (u16, u16, Vec<Address>);

impl Cluster {
    /// A cluster that is found through `seeds`, none of which is asked yet. None at all is no cluster.
    pub(super) fn new(seeds: &[ConnectionInfo], timeout: Duration) -> Option<Self> {
        let template = seeds.first()?.clone();
        let seeds = seeds.iter().filter_map(|seed| address(seed.addr())).collect();
        Some(Self { template, seeds, timeout, map: Mutex::default(), asked: tokio::sync::Mutex::default() })
    }

    /// Runs a command at the node that has `key`.
    pub(super) async fn call(&self, key: &[u8], command: &redis::Cmd) -> Result<Value, Trouble> {
        let slot = slot(key);
        let mut pause = Duration::ZERO;
        loop {
            let began = Instant::now();
            let node = self.owner(slot).await?;
            let trouble = match node.call(command).await {
                Err(trouble) => trouble,
                answer => return answer,
            };
            match &trouble {
                // It may have been run: whether it is to be tried again, the caller knows.
                Trouble::Lost(_) => return Err(trouble),
                // Another may have taken its place.
                Trouble::Unreached(_) => self.learn(began).await?,
                Trouble::Refused(error) => match error.kind() {
                    Kind::Server(ServerErrorKind::Ask) => {
                        match self.redirected(&node, error)?.call_asking(command).await {
                            // Meanwhile the slot has moved, or went back.
                            Err(Trouble::Unreached(_)) => self.learn(began).await?,
                            Err(Trouble::Refused(error)) if is_passing(&error) => self.learn(began).await?,
                            answer => return answer,
                        }
                    }
                    Kind::Server(ServerErrorKind::Moved) => {
                        let owner = self.redirected(&node, error)?;
                        self.learn(began).await?;
                        // Who was asked may know less than who redirected.
                        self.set_owner(slot, owner);
                    }
                    _ if is_passing(error) => self.learn(began).await?,
                    _ => return Err(trouble),
                },
            }
            tokio::time::sleep(pause).await;
            pause = (pause + PAUSE / 10).min(PAUSE);
        }
    }

    /// The nodes that have slots.
    pub(super) async fn primaries(&self) -> Result<Vec<Arc<Node>>, Trouble> {
        self.learn(Instant::now()).await?;
        let mut primaries: Vec<Arc<Node>> = self.map().owners.iter().flatten().cloned().collect();
        primaries.dedup_by(|one, other| Arc::ptr_eq(one, other));
        Ok(primaries)
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn owner(&self, slot: u16) -> Result<Arc<Node>, Trouble> {
        let known = |map: &Map| map.owners.get(usize::from(slot)).cloned().flatten();
        if let Some(owner) = known(&self.map()) {
            return Ok(owner);
        }
        self.learn(Instant::now()).await?;
        known(&self.map()).ok_or_else(|| unreached("no node of the cluster has the key's slot"))
    }

    /// Learns which node has which slot, unless that was done since `since`.
    async fn learn(&self, since: Instant) -> Result<(), Trouble> {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked >= since) {
            return Ok(());
        }
        let began = Instant::now();
        let nodes = self.some_nodes().map_err(Trouble::Unreached)?;
        let questions = nodes.into_iter().map(|(address, node)| Box::pin(ask_for_slots(address, node)));
        let (ranges, _) = select_ok(questions).await?;
        self.adopt(ranges).map_err(Trouble::Unreached)?;
        *asked = Some(began);
        Ok(())
    }

    /// Whom to ask: others each time, and seeds among them.
    fn some_nodes(&self) -> RedisResult<Vec<(Address, Arc<Node>)>> {
        let mut map = self.map();
        let mut addresses = self.seeds.clone();
        addresses.extend(map.nodes.keys().filter(|address| !self.seeds.contains(address)).cloned());
        let turn = map.turn % addresses.len().max(1);
        addresses.rotate_left(turn);
        addresses.truncate(ASKED);
        map.turn = map.turn.wrapping_add(ASKED);
        addresses.into_iter().map(|address| Ok((address.clone(), self.node(&mut map, &address)?))).collect()
    }

    /// The node at `address`, with the connection that it has.
    fn node(&self, map: &mut Map, address: &Address) -> RedisResult<Arc<Node>> {
        if let Some(node) = map.nodes.get(address) {
            return Ok(node.clone());
        }
        let (host, port) = address.clone();
        let place = match self.template.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        // One that hangs must leave time to find who took its place.
        let node = Arc::new(Node::new(self.template.clone().set_addr(place), self.timeout / 4, self.timeout)?);
        map.nodes.insert(address.clone(), node.clone());
        Ok(node)
    }

    fn adopt(&self, ranges: Vec<Range>) -> RedisResult<()> {
        let mut map = self.map();
        let mut owners = vec![None; usize::from(SLOTS)];
        for (first, last, addresses) in &ranges {
            let Some(primary) = addresses.first() else { continue };
            let primary = self.node(&mut map, primary)?;
            for slot in *first..=(*last).min(SLOTS - 1) {
                owners[usize::from(slot)] = Some(primary.clone());
            }
            for replica in &addresses[1..] {
                self.node(&mut map, replica)?;
            }
        }
        map.owners = owners;
        let is_known = |address: &Address| ranges.iter().any(|(.., addresses)| addresses.contains(address));
        map.nodes.retain(|address, _| is_known(address) || self.seeds.contains(address));
        Ok(())
    }

    /// The node that a redirection by `from` names.
    fn redirected(&self, from: &Arc<Node>, error: &RedisError) -> Result<Arc<Node>, Trouble> {
        let mut map = self.map();
        let (host, port) = error
            .redirect_node()
            .and_then(|(address, _)| address.rsplit_once(':'))
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .ok_or_else(|| unreached("a node redirects to nowhere"))?;
        let host = match host {
            // The same host as that of the node that says so.
            "" => map.nodes.iter().find(|(_, node)| Arc::ptr_eq(node, from)).map(|((host, _), _)| host.clone()),
            host => Some(host.to_owned()),
        };
        let host = host.ok_or_else(|| unreached("a node that has left the cluster redirects"))?;
        self.node(&mut map, &(host, port)).map_err(Trouble::Unreached)
    }

    fn set_owner(&self, slot: u16, owner: Arc<Node>) {
        if let Some(place) = self.map().owners.get_mut(usize::from(slot)) {
            *place = Some(owner);
        }
    }
}

/// Whether a command was not run for a reason that passes.
fn is_passing(error: &RedisError) -> bool {
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

fn unreached(what: &'static str) -> Trouble {
    Trouble::Unreached(RedisError::from((Kind::Server(ServerErrorKind::ClusterDown), what)))
}

fn address(place: &ConnectionAddr) -> Option<Address> {
    match place {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Some((host.clone(), *port)),
        _ => None,
    }
}

async fn ask_for_slots((host, _): Address, node: Arc<Node>) -> Result<Vec<Range>, Trouble> {
    let answer = node.call(redis::cmd("CLUSTER").arg("SLOTS")).await?;
    let rows: Vec<Vec<Value>> = from_redis_value(answer).map_err(|error| Trouble::Refused(error.into()))?;
    let ranges: Vec<Range> = rows.into_iter().filter_map(|row| range(row, &host)).collect();
    // A node that belongs to no cluster yet, or no more.
    if ranges.is_empty() { Err(unreached("a node knows of no slots")) } else { Ok(ranges) }
}

/// Reads what a node says of a range. It leaves out the host where that is the one under which it was asked.
fn range(row: Vec<Value>, asked: &str) -> Option<Range> {
    let mut row = row.into_iter();
    let first = u16::from_redis_value(row.next()?).ok()?;
    let last = u16::from_redis_value(row.next()?).ok()?;
    let place = |value: Value| {
        let mut parts = Vec::<Value>::from_redis_value(value).ok()?.into_iter();
        let host = Option::<String>::from_redis_value(parts.next()?).ok()?.unwrap_or_default();
        let port = u16::from_redis_value(parts.next()?).ok()?;
        let host = if host.is_empty() { asked.to_owned() } else { host };
        (host != "?").then_some((host, port))
    };
    let mut places = row.map(place);
    // The primary comes first; where it is not known, its replica is not to be taken for it.
    let primary = places.next()??;
    Some((first, last, std::iter::once(primary).chain(places.flatten()).collect()))
}

/// The slot of a key: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tag>.
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
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        // No tag, or an empty one: the whole key counts.
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{bar"), crc16(b"foo{bar") % SLOTS);
    }

    #[test]
    fn a_range_may_leave_out_its_host() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let place = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id")]);
        let places = [place(text(""), 1), place(Value::Nil, 2), place(text("b"), 3), place(text("?"), 4)];
        let row = [vec![Value::Int(5), Value::Int(9)], places.to_vec()].concat();
        let named = [("a", 1), ("a", 2), ("b", 3)].map(|(host, port)| (host.to_owned(), port));
        assert_eq!(range(row, "a"), Some((5, 9, named.to_vec())));
        assert_eq!(range(vec![Value::Int(5)], "a"), None);
    }
}
