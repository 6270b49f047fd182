//! A Redis server, and a Redis cluster of six nodes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use super::{PAUSE, ServerProcess, TIME_LIMIT, programs, run, temporary_directory};
use crate::port::Port;

fn program(name: &str) -> PathBuf {
    programs::find(name).unwrap_or_else(|missing| panic!("{missing}"))
}

fn server(directory: &Path, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new(program("redis-server"));
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(directory);
    command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]).args(more);
    command
}

/// Whether the server has loaded its file. Until then, it replies `-LOADING` to commands.
fn has_loaded(port: u16) -> bool {
    let reply = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(TIME_LIMIT))?;
        stream.write_all(b"PING\r\n")?;
        let mut start = [0; 5];
        stream.read_exact(&mut start).map(|()| start)
    };
    reply().is_ok_and(|start: [u8; 5]| start != *b"-LOAD")
}

/// A Redis server without replicas. It writes every change to the disk within a second.
pub struct Redis {
    private: ServerProcess,
    password: Option<&'static str>,
}

impl Redis {
    /// Starts a server.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn start() -> Self {
        Self {
            private: ServerProcess::start_when_ready(
                temporary_directory(),
                |directory, port| server(directory, port, &[]),
                has_loaded,
            ),
            password: None,
        }
    }

    /// Starts a server that writes each change to the disk before it replies. A server with default settings can lose
    /// the changes of up to two seconds when it is killed.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn durable() -> Self {
        let more = ["--appendfsync", "always"];
        let private = ServerProcess::start_when_ready(
            temporary_directory(),
            move |directory, port| server(directory, port, &more),
            has_loaded,
        );
        Self { private, password: None }
    }

    /// Starts a server that requires a password. The URL has the password.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn with_password(password: &'static str) -> Self {
        let more = ["--requirepass", password];
        let private = ServerProcess::start_when_ready(
            temporary_directory(),
            move |directory, port| server(directory, port, &more),
            has_loaded,
        );
        Self { private, password: Some(password) }
    }

    /// Starts a server that accepts TLS connections only. Its certificate for 127.0.0.1 is self-signed.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn with_tls() -> Self {
        let directory = temporary_directory();
        let certificate = Self::certificate_in(directory.path());
        let mut openssl = Command::new(program("openssl"));
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        openssl.args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]);
        // Without this option, the certificate is one of an authority, and clients reject it for a server.
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"]).arg(&certificate);
        let made = run(openssl.arg("-keyout").arg(directory.path().join("key.pem")));
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        let private = ServerProcess::start(directory, |directory, port| {
            let mut command = server(directory, 0, &[]);
            command.args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no", "--tls-cert-file"]);
            command.arg(Self::certificate_in(directory)).arg("--tls-key-file").arg(directory.join("key.pem"));
            command
        });
        Self { private, password: None }
    }

    fn certificate_in(directory: &Path) -> PathBuf {
        directory.join("certificate.pem")
    }

    /// The path of the certificate of a server with TLS.
    pub fn certificate(&self) -> PathBuf {
        Self::certificate_in(self.directory())
    }

    /// The URL of the server.
    pub fn url(&self) -> String {
        let user = self.password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{user}127.0.0.1:{}", self.private.port())
    }
}

impl Redis {
    /// Runs a command with `redis-cli` and returns the output.
    ///
    /// # Panics
    /// If `redis-cli` cannot be run.
    pub fn ask(&self, command: &[&str]) -> String {
        ask(self.private.port(), command)
    }
}

fn ask(port: u16, command: &[&str]) -> String {
    let mut cli = Command::new(program("redis-cli"));
    let output = run(cli.args(["-p", &port.to_string()]).args(command));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

impl std::ops::Deref for Redis {
    type Target = ServerProcess;

    fn deref(&self) -> &ServerProcess {
        &self.private
    }
}

impl std::ops::DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut ServerProcess {
        &mut self.private
    }
}

/// A cluster of three primaries, each with one replica.
pub struct RedisCluster(Vec<ServerProcess>);

impl RedisCluster {
    const PRIMARIES: usize = 3;

    /// Starts a cluster and waits until it is ready. No replica replaces a primary that a busy machine delays.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn start() -> Self {
        Self::with_node_timeout("60000")
    }

    /// Starts a cluster and waits until it is ready. If a primary fails, its replica replaces it within seconds.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn with_failover() -> Self {
        Self::with_node_timeout("5000")
    }

    fn with_node_timeout(millis: &'static str) -> Self {
        let nodes = (0..2 * Self::PRIMARIES).map(|_| {
            // The default is the port plus 10,000, which can exceed the highest port. The number must be the same after
            // a restart, because nodes that all have new bus ports do not find each other.
            let bus = Port::claim();
            ServerProcess::start(temporary_directory(), move |directory, port| {
                let bus = bus.number().to_string();
                let mut more = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", millis];
                more.extend(["--cluster-port", &bus]);
                // A replica may replace its primary however old its data is.
                more.extend(["--cluster-replica-validity-factor", "0"]);
                server(directory, port, &more)
            })
        });
        let cluster = Self(nodes.collect());
        let mut create = Command::new(program("redis-cli"));
        create.args(["--cluster", "create"]).args(cluster.addresses());
        let made = run(create.args(["--cluster-replicas", "1", "--cluster-yes"]));
        assert!(made.status.success(), "cannot create the cluster: {}", String::from_utf8_lossy(&made.stdout));
        cluster.wait_until_ready();
        cluster
    }

    /// Waits until all nodes are ready.
    ///
    /// # Panics
    /// If a node does not become ready in time.
    pub fn wait_until_ready(&self) {
        self.wait_until("all nodes are ready", |node| self.is_ready(node));
    }

    /// Waits until each replica has all data of its primary.
    ///
    /// # Panics
    /// If a replica does not catch up in time.
    pub fn wait_for_replication(&self) {
        self.wait_until("the replicas have caught up", |node| {
            let info = self.ask(node, &["INFO", "replication"]);
            let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let copied =
                info.lines().filter_map(|line| line.strip_prefix("slave0:")?.split(',').nth(3)?.split('=').nth(1));
            !info.contains("role:master") || copied.map(str::to_owned).eq(value("master_repl_offset:"))
        });
    }

    fn wait_until(&self, what: &str, is_done: impl Fn(usize) -> bool) {
        let started = Instant::now();
        while !(0..self.0.len()).all(&is_done) {
            assert!(started.elapsed() < TIME_LIMIT, "timed out waiting until {what}");
            thread::sleep(PAUSE);
        }
    }

    /// The ports of the nodes: first the initial primaries, then the initial replicas.
    pub fn ports(&self) -> Vec<u16> {
        self.0.iter().map(ServerProcess::port).collect()
    }

    fn addresses(&self) -> Vec<String> {
        self.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// The URL of the cluster, with two of its nodes.
    pub fn url(&self) -> String {
        format!("redis+cluster://{}", self.addresses()[..2].join(","))
    }

    /// Asks the node `asked` which node is the primary for the slot of `key`, and returns its number.
    ///
    /// # Panics
    /// If the node does not know.
    pub fn primary_of(&self, key: &str, asked: usize) -> usize {
        let slot: u16 = self.ask(asked, &["CLUSTER", "KEYSLOT", key]).parse().expect("the reply is a slot number");
        let rows = self.ask(asked, &["CLUSTER", "NODES"]);
        let row = rows
            .lines()
            .find(|row| row.split(' ').skip(8).any(|range| contains(range, slot)))
            .expect("the slot has an owner");
        let address = row.split(' ').nth(1).and_then(|field| field.split('@').next()).expect("the row has an address");
        self.addresses().iter().position(|own| own == address).expect("the owner is a node of this cluster")
    }

    /// A node, to be paused, killed or restarted.
    pub fn node(&mut self, number: usize) -> &mut ServerProcess {
        &mut self.0[number]
    }

    /// The number of nodes.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Whether this node replies.
    pub fn is_up(&self, node: usize) -> bool {
        self.ask(node, &["PING"]) == "PONG"
    }

    /// Whether this node knows all nodes and slots, and is connected to its replica or primary.
    fn is_ready(&self, node: usize) -> bool {
        let (info, nodes) = (self.ask(node, &["CLUSTER", "INFO"]), self.ask(node, &["CLUSTER", "NODES"]));
        let role = self.ask(node, &["INFO", "replication"]);
        info.contains("cluster_state:ok")
            && nodes.lines().filter(|row| row.contains("slave")).count() == Self::PRIMARIES
            && !nodes.contains("fail")
            && (role.contains("role:master") && role.contains("connected_slaves:1")
                || role.contains("master_link_status:up"))
    }

    /// Runs a command on a node with `redis-cli` and returns the output.
    ///
    /// # Panics
    /// If `redis-cli` cannot be run.
    pub fn ask(&self, node: usize, command: &[&str]) -> String {
        ask(self.0[node].port(), command)
    }
}

/// Whether `slot` is in a range such as `5-9` or `5`.
fn contains(range: &str, slot: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    first.parse().is_ok_and(|first: u16| first <= slot) && last.parse().is_ok_and(|last: u16| slot <= last)
}
