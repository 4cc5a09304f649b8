//! Apache Kafka, as its own jars: 4.1.1 with KRaft, 2.8.1 with ZooKeeper.
//!
//! [`Broker::shared`] gives the one broker of a version that the tests of a process use together (their
//! topics bear the test's name); [`Broker::own`] one that a test may stop, pause and start again;
//! [`Broker::cluster`] several that hold replicas of each other's partitions.
//! [`Broker::guarded`](crate::rights) one that asks who its clients are.

use std::fmt;
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::MetadataTopic;
use rustix::process::Signal;

mod node;

pub use node::Node;

use crate::jars;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::rights::Doors;
use crate::wait::eventually;

/// Another process may take a port between its choice and its use: then others are chosen.
const ATTEMPTS_MAX: u32 = 4;

/// A node of a cluster may be away: then another one is asked.
const LEADER_CALL: Duration = Duration::from_secs(5);

/// Of three replicas one may be away.
const REPLICAS_MIN: usize = 2;

/// A version of Kafka that lethe is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 4.1.1, KRaft: the newest that is supported.
    V4,
    /// 2.8.1, ZooKeeper: what CKafka recommends.
    V2,
}

impl Version {
    /// The release's number.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::V4 => "4.1.1",
            Self::V2 => "2.8.1",
        }
    }

    const fn artifacts(self) -> &'static [jars::Artifact] {
        match self {
            Self::V4 => &[
                ("org.apache.kafka", "kafka_2.13", "4.1.1"),
                ("org.apache.kafka", "kafka-tools", "4.1.1"),
                ("org.slf4j", "slf4j-simple", "1.7.36"),
            ],
            Self::V2 => &[
                ("org.apache.kafka", "kafka_2.13", "2.8.1"),
                ("org.slf4j", "slf4j-log4j12", "1.7.30"),
            ],
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.number())
    }
}

/// A running broker, or a cluster of them; stopped when dropped, and with the test process at the latest.
#[derive(Debug)]
pub struct Broker {
    version: Version,
    nodes: Vec<Node>,
    /// Of the version that needs it.
    zookeeper: Mutex<Option<Process>>,
}

impl Broker {
    /// The broker that all tests of this process share.
    #[must_use]
    pub fn shared(version: Version) -> &'static Self {
        static V4: OnceLock<Broker> = OnceLock::new();
        static V2: OnceLock<Broker> = OnceLock::new();
        match version {
            Version::V4 => V4.get_or_init(|| Self::own(version)),
            Version::V2 => V2.get_or_init(|| Self::own(version)),
        }
    }

    /// A broker of one test's own, for what would disturb others.
    ///
    /// # Panics
    /// Where it does not start, with what it said.
    #[must_use]
    pub fn own(version: Version) -> Self {
        Self::started(version, 1, false)
    }

    /// A cluster of so many nodes (KRaft, each a controller too). Each partition has a replica on each node,
    /// and takes a write while all of them but one are there.
    ///
    /// # Panics
    /// Where it does not start, with what it said.
    #[must_use]
    pub fn cluster(nodes: usize) -> Self {
        Self::started(Version::V4, nodes, false)
    }

    pub(crate) fn started(version: Version, nodes: usize, guarded: bool) -> Self {
        for _ in 1..ATTEMPTS_MAX {
            if let Ok(broker) = Self::try_start(version, nodes, guarded) {
                return broker;
            }
        }
        Self::try_start(version, nodes, guarded)
            .unwrap_or_else(|said| panic!("Kafka {version} did not start: {said}"))
    }

    pub(crate) fn doors(&self) -> Option<&Doors> {
        self.nodes.first().and_then(|node| node.doors.as_ref())
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(Node::address).collect();
        addresses.join(",")
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its processes: one, or those of the cluster; the node with the id 1 is the first.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that leads a partition (the topic's whole name), once there is one.
    ///
    /// # Panics
    /// Where there is none in time.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> &Node {
        let client: BaseConsumer = self.client().create().expect("a client");
        eventually(&format!("the leader of {topic}/{partition}"), || {
            let metadata = client.fetch_metadata(Some(topic), LEADER_CALL);
            let metadata = metadata.map_err(|error| error.to_string())?;
            let mut partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
            let leader =
                partitions.find(|found| found.id() == partition).map(|found| found.leader());
            let place = usize::try_from(leader.unwrap_or_default() - 1).ok();
            place.and_then(|place| self.nodes.get(place)).ok_or_else(|| format!("{leader:?}"))
        })
    }

    /// How many replicas a topic's partitions have.
    #[must_use]
    pub fn replicas(&self) -> i32 {
        i32::try_from(self.nodes.len()).unwrap_or(1)
    }

    /// Puts a proxy before it. Who connects to the proxy's address speaks to it through the proxy alone.
    ///
    /// # Panics
    /// Where it is a cluster, or where its port has been taken.
    #[must_use]
    pub fn proxy(&self) -> Proxy {
        let [node] = self.nodes.as_slice() else { panic!("a proxy stands before one broker") };
        Proxy::start(node.port_proxy, node.port_behind)
    }

    /// The process id of a broker that is no cluster.
    ///
    /// # Panics
    /// Where it is stopped.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.nodes.first().and_then(Node::process_id).expect("the broker runs")
    }

    /// A librdkafka configuration that names this broker.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config.set("broker.address.family", "v4");
        config
    }

    /// Stops it at once, as a power failure would; what it wrote stays. ZooKeeper goes on.
    pub fn stop(&self) {
        self.nodes.iter().for_each(Node::kill);
    }

    /// Starts it again where it was, after [`Broker::stop`].
    ///
    /// # Panics
    /// Where it does not start, with what it said.
    pub fn start(&self) {
        self.nodes.iter().for_each(Node::start);
    }

    /// Makes it stand still, without closing a connection.
    pub fn pause(&self) {
        self.signal_zookeeper(Signal::STOP);
        self.nodes.iter().for_each(Node::pause);
    }

    /// Lets it go on after [`Broker::pause`].
    pub fn go_on(&self) {
        self.signal_zookeeper(Signal::CONT);
        self.nodes.iter().for_each(Node::go_on);
    }

    fn signal_zookeeper(&self, signal: Signal) {
        let mut zookeeper = self.zookeeper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = zookeeper.as_mut() {
            process.signal(signal);
        }
    }

    /// A Java program of this version, whose output goes to a file beside the first node's.
    pub(crate) fn java(&self, main: &str, heap: &str, log: &str) -> Command {
        self.nodes.first().expect("a broker has a node").java(main, heap, log)
    }

    /// The end of such a file.
    pub(crate) fn said(&self, log: &str) -> String {
        self.nodes.first().map(|node| node.said(log)).unwrap_or_default()
    }

    fn try_start(version: Version, count: usize, guarded: bool) -> Result<Self, String> {
        let nodes: Vec<Node> = (1..=count).map(|id| Node::new(version, id, guarded)).collect();
        let voter = |node: &Node| format!("{}@127.0.0.1:{}", node.id, node.port_metadata);
        let voters: Vec<String> = nodes.iter().map(voter).collect();
        let common = format!("{COMMON}{}", replication(count));
        for node in &nodes {
            node.configure(&common, &voters.join(","))?;
        }
        let zookeeper = Mutex::new(nodes.first().and_then(Node::zookeeper));
        // All of them before the first is waited for: KRaft needs most of its voters.
        nodes.iter().for_each(Node::launch);
        nodes.iter().try_for_each(Node::wait_until_ready)?;
        Ok(Self { version, nodes, zookeeper })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Before ZooKeeper, which it would wait for.
        self.stop();
    }
}

/// Settings by the number of nodes.
fn replication(nodes: usize) -> String {
    let least = nodes.min(REPLICAS_MIN);
    format!(
        "default.replication.factor={nodes}\nmin.insync.replicas={least}\n\
         offsets.topic.replication.factor={nodes}\n\
         transaction.state.log.replication.factor={nodes}\ntransaction.state.log.min.isr={least}\n"
    )
}

/// What both versions are told. Small and quick, but nothing that changes what clients see: no topic appears
/// by itself, so that what lethe needs it creates or names.
const COMMON: &str = "\
auto.create.topics.enable=false
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=1000
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
log.index.size.max.bytes=1048576
";

/// A port of the loopback address that nobody listens on.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
