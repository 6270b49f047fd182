//! Redis: one server, or a cluster of six.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use super::port::Port;
use super::{PATIENCE, PAUSE, Private, directory, programs};

fn program(name: &str) -> PathBuf {
    programs::find(name).unwrap_or_else(|missing| panic!("{missing}"))
}

fn server(directory: &Path, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new(program("redis-server"));
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(directory);
    command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]).args(more);
    command
}

/// One server, without replicas, that writes every change to its disk.
pub struct Redis {
    private: Private,
    password: Option<&'static str>,
}

impl Redis {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        Self { private: Private::start(directory(), |directory, port| server(directory, port, &[])), password: None }
    }

    /// Starts one that answers no sooner than its disk has what it was told: otherwise a kill while the disk is slow
    /// takes up to two seconds.
    ///
    /// # Panics
    /// When it does not start.
    pub fn durable() -> Self {
        let more = ["--appendfsync", "always"];
        let private = Private::start(directory(), move |directory, port| server(directory, port, &more));
        Self { private, password: None }
    }

    /// Starts one that wants a password, which its URL has.
    ///
    /// # Panics
    /// When it does not start.
    pub fn with_password(password: &'static str) -> Self {
        let more = ["--requirepass", password];
        let private = Private::start(directory(), move |directory, port| server(directory, port, &more));
        Self { private, password: Some(password) }
    }

    /// Starts one that speaks TLS only, with a certificate for 127.0.0.1 that nobody trusts but who trusts its file.
    ///
    /// # Panics
    /// When it does not start.
    pub fn with_tls() -> Self {
        let directory = directory();
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
        // Else it is one of an authority, which no server may show as its own.
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"]).arg(&certificate);
        let made = openssl.arg("-keyout").arg(directory.path().join("key.pem")).output().expect("openssl runs");
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        let private = Private::start(directory, |directory, port| {
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

    /// The file of the certificate of one with TLS.
    pub fn certificate(&self) -> PathBuf {
        Self::certificate_in(self.directory())
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let user = self.password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{user}127.0.0.1:{}", self.private.port())
    }
}

impl Redis {
    /// What it answers to `redis-cli`.
    ///
    /// # Panics
    /// When `redis-cli` does not run.
    pub fn ask(&self, command: &[&str]) -> String {
        ask(self.private.port(), command)
    }
}

fn ask(port: u16, command: &[&str]) -> String {
    let mut cli = Command::new(program("redis-cli"));
    let answer = cli.args(["-p", &port.to_string()]).args(command).output().expect("redis-cli runs");
    String::from_utf8_lossy(&answer.stdout).trim_end().to_owned()
}

impl std::ops::Deref for Redis {
    type Target = Private;

    fn deref(&self) -> &Private {
        &self.private
    }
}

impl std::ops::DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut Private {
        &mut self.private
    }
}

/// A cluster of three primaries, each with a replica that takes its place within seconds.
pub struct RedisCluster(Vec<Private>);

impl RedisCluster {
    const PRIMARIES: usize = 3;

    /// Starts it, and waits until all of it is in working order.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let nodes = (0..2 * Self::PRIMARIES).map(|_| {
            // Not the usual port plus 10,000, which may be none. It has to stay when a node starts again: nodes that
            // all have new ones do not find each other.
            let bus = Port::claim();
            Private::start(directory(), move |directory, port| {
                let bus = bus.number().to_string();
                let mut more = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
                more.extend(["--cluster-port", &bus]);
                // However old its copy is, a replica may take the place of its primary.
                more.extend(["--cluster-replica-validity-factor", "0"]);
                server(directory, port, &more)
            })
        });
        let cluster = Self(nodes.collect());
        let mut create = Command::new(program("redis-cli"));
        create.args(["--cluster", "create"]).args(cluster.addresses());
        let made = create.args(["--cluster-replicas", "1", "--cluster-yes"]).output().expect("redis-cli runs");
        assert!(made.status.success(), "no cluster: {}", String::from_utf8_lossy(&made.stdout));
        cluster.settle();
        cluster
    }

    /// Waits until all of it is in working order.
    ///
    /// # Panics
    /// When it never is.
    pub fn settle(&self) {
        self.wait_until("settles", |node| self.is_settled(node));
    }

    /// Waits until each replica has what its primary had.
    ///
    /// # Panics
    /// When one never has.
    pub fn wait_for_copies(&self) {
        self.wait_until("is copied", |node| {
            let info = self.ask(node, &["INFO", "replication"]);
            let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let copied =
                info.lines().filter_map(|line| line.strip_prefix("slave0:")?.split(',').nth(3)?.split('=').nth(1));
            !info.contains("role:master") || copied.map(str::to_owned).eq(value("master_repl_offset:"))
        });
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(usize) -> bool) {
        let started = Instant::now();
        while !(0..self.0.len()).all(&is_so) {
            assert!(started.elapsed() < PATIENCE, "a cluster that never {what}");
            thread::sleep(PAUSE);
        }
    }

    /// The port of each of its nodes: the primaries, as it starts, then the replicas.
    pub fn ports(&self) -> Vec<u16> {
        self.0.iter().map(Private::port).collect()
    }

    fn addresses(&self) -> Vec<String> {
        self.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Its URL, which names two of its nodes.
    pub fn url(&self) -> String {
        format!("redis+cluster://{}", self.addresses()[..2].join(","))
    }

    /// The number of the node that has the slot of `key` as its primary, as the node `asked` says.
    ///
    /// # Panics
    /// When it does not say.
    pub fn primary_of(&self, key: &str, asked: usize) -> usize {
        let slot: u16 = self.ask(asked, &["CLUSTER", "KEYSLOT", key]).parse().expect("a slot");
        let rows = self.ask(asked, &["CLUSTER", "NODES"]);
        let row = rows.lines().find(|row| row.split(' ').skip(8).any(|range| holds(range, slot))).expect("an owner");
        let address = row.split(' ').nth(1).and_then(|place| place.split('@').next()).expect("an address");
        self.addresses().iter().position(|one| one == address).expect("one of its own nodes")
    }

    /// One of its nodes, to do something bad to.
    pub fn node(&mut self, number: usize) -> &mut Private {
        &mut self.0[number]
    }

    /// How many nodes it has.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Does this node answer?
    pub fn is_up(&self, node: usize) -> bool {
        self.ask(node, &["PING"]) == "PONG"
    }

    /// Does this node know of all others, of all slots, and is its copy made?
    fn is_settled(&self, node: usize) -> bool {
        let (info, nodes) = (self.ask(node, &["CLUSTER", "INFO"]), self.ask(node, &["CLUSTER", "NODES"]));
        let role = self.ask(node, &["INFO", "replication"]);
        info.contains("cluster_state:ok")
            && nodes.lines().filter(|row| row.contains("slave")).count() == Self::PRIMARIES
            && !nodes.contains("fail")
            && (role.contains("role:master") && role.contains("connected_slaves:1")
                || role.contains("master_link_status:up"))
    }

    /// What a node answers to `redis-cli`.
    ///
    /// # Panics
    /// When `redis-cli` does not run.
    pub fn ask(&self, node: usize, command: &[&str]) -> String {
        ask(self.0[node].port(), command)
    }
}

/// Is `slot` in a range such as `5-9`, or `5`?
fn holds(range: &str, slot: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    first.parse().is_ok_and(|first: u16| first <= slot) && last.parse().is_ok_and(|last: u16| slot <= last)
}
