//! Apache Kafka, as its own jars: 4.1.1 with KRaft, 2.8.1 with ZooKeeper.
//!
//! [`Broker::shared`] gives the one broker of a version that the tests of a process use together (their
//! topics bear the test's name); [`Broker::own`] one that a test may stop, pause and start again;
//! [`Broker::guarded`](crate::rights) one that asks who its clients are.

use std::fmt;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rustix::process::Signal;

use crate::jars;
use crate::process::{self, Process};
use crate::rights::{self, Doors};
use crate::wait::{PATIENCE, within};

/// Another process may take a port between its choice and its use: then others are chosen.
const ATTEMPTS_MAX: u32 = 4;

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

/// A running broker; stopped when dropped, and with the test process at the latest.
#[derive(Debug)]
pub struct Broker {
    version: Version,
    dir: PathBuf,
    port: u16,
    /// KRaft's controller or ZooKeeper.
    port_metadata: u16,
    /// Where clients log in, of a broker that asks them to.
    doors: Option<Doors>,
    /// ZooKeeper, of the version that needs it, and then the broker.
    processes: Mutex<Vec<Process>>,
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
        Self::started(version, false)
    }

    pub(crate) fn started(version: Version, guarded: bool) -> Self {
        for _ in 1..ATTEMPTS_MAX {
            if let Ok(broker) = Self::try_start(version, guarded) {
                return broker;
            }
        }
        Self::try_start(version, guarded)
            .unwrap_or_else(|said| panic!("Kafka {version} did not start: {said}"))
    }

    pub(crate) fn doors(&self) -> Option<&Doors> {
        self.doors.as_ref()
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where its logs are: a directory for each partition.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Its process id.
    ///
    /// # Panics
    /// Where it is stopped.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.lock().last().expect("the broker runs").id()
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
        drop(self.lock().pop());
    }

    /// Starts it again where it was, after [`Broker::stop`].
    ///
    /// # Panics
    /// Where it does not start, with what it said.
    pub fn start(&self) {
        let mut processes = self.lock();
        // ZooKeeper remembers the former broker until its session ends, and refuses a new one until then.
        let outcome = within(PATIENCE, || {
            let outcome = self.start_kafka(&mut processes);
            if outcome.is_err() {
                drop(processes.pop());
            }
            outcome
        });
        outcome.unwrap_or_else(|said| panic!("Kafka {} did not start again: {said}", self.version));
    }

    /// Makes it stand still, without closing a connection.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Broker::pause`].
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        for process in self.lock().iter_mut() {
            process.signal(signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_start(version: Version, guarded: bool) -> Result<Self, String> {
        let dir = process::directory(&format!("kafka-{version}"));
        let (port, port_metadata) = (free_port(), free_port());
        let doors = guarded.then(|| Doors::new(&dir));
        let processes = Mutex::new(Vec::new());
        let broker = Self { version, dir, port, port_metadata, doors, processes };
        broker.configure()?;
        let mut processes = broker.lock();
        if version == Version::V2 {
            broker.start_zookeeper(&mut processes);
        }
        broker.start_kafka(&mut processes)?;
        drop(processes);
        Ok(broker)
    }

    fn configure(&self) -> Result<(), String> {
        let write = |name: &str, text: String| {
            fs::write(self.dir.join(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
        };
        let (address, metadata, dir) = (self.address(), self.port_metadata, self.dir.display());
        match self.version {
            Version::V4 => {
                let (guarded, rules) =
                    self.doors.as_ref().map(Doors::configuration).unwrap_or_default();
                write(
                    "server.properties",
                    format!(
                        "{COMMON}process.roles=broker,controller\nnode.id=1\n\
                         controller.quorum.voters=1@127.0.0.1:{metadata}\n\
                         listeners=PLAINTEXT://{address},CONTROLLER://127.0.0.1:{metadata}{guarded}\n\
                         advertised.listeners=PLAINTEXT://{address}{guarded}\n{rules}\
                         controller.listener.names=CONTROLLER\nlog.dirs={dir}/data\n"
                    ),
                );
                self.format()
            }
            Version::V2 => {
                write(
                    "server.properties",
                    format!(
                        "{COMMON}broker.id=1\nlisteners=PLAINTEXT://{address}\n\
                         zookeeper.connect=127.0.0.1:{metadata}\nlog.dirs={dir}/data\n\
                         zookeeper.connection.timeout.ms=60000\nzookeeper.session.timeout.ms=6000\n"
                    ),
                );
                write(
                    "zookeeper.properties",
                    format!(
                        "dataDir={dir}/zookeeper\nclientPort={metadata}\n\
                         clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n"
                    ),
                );
                write("log4j.properties", LOG4J.to_owned());
                Ok(())
            }
        }
    }

    /// KRaft's log directory is formatted before its first start.
    fn format(&self) -> Result<(), String> {
        let mut command = self.java("kafka.tools.StorageTool", "128m", "format.log");
        command.args(["format", "-t", "bGV0aGUtdGVzdC1rYWZrYQ", "-c"]);
        command.arg(self.dir.join("server.properties"));
        if self.doors.is_some() {
            command.args(["--add-scram", &rights::scram()]);
        }
        let status = Process::start("Kafka's storage tool", command).wait();
        if status.success() { Ok(()) } else { Err(self.said("format.log")) }
    }

    fn start_zookeeper(&self, processes: &mut Vec<Process>) {
        let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
        let mut command = self.java(main, "128m", "zookeeper.log");
        command.arg(self.dir.join("zookeeper.properties"));
        processes.push(Process::start("ZooKeeper", command));
    }

    fn start_kafka(&self, processes: &mut Vec<Process>) -> Result<(), String> {
        let mut command = self.java("kafka.Kafka", "512m", "kafka.log");
        command.arg(self.dir.join("server.properties"));
        processes.push(Process::start("Kafka", command));
        self.wait_until_ready(processes)
    }

    /// Ready is: it answers who it is. An early exit ends the wait.
    fn wait_until_ready(&self, processes: &mut [Process]) -> Result<(), String> {
        let client: BaseConsumer = self.client().create().expect("a client");
        let start = Instant::now();
        loop {
            if processes.iter_mut().any(|process| process.exit().is_some()) {
                return Err(format!("{}\n{}", self.said("zookeeper.log"), self.said("kafka.log")));
            }
            match client.fetch_metadata(None, Duration::from_secs(1)) {
                Ok(metadata) if !metadata.brokers().is_empty() => return Ok(()),
                Ok(_) | Err(_) if start.elapsed() < PATIENCE => {}
                Ok(_) => return Err("it has no brokers".to_owned()),
                Err(error) => return Err(format!("{error}\n{}", self.said("kafka.log"))),
            }
        }
    }

    pub(crate) fn java(&self, main: &str, heap: &str, log: &str) -> Command {
        require_java();
        let jars = jars::directory(self.version.number(), self.version.artifacts());
        let log =
            File::options().create(true).append(true).open(self.dir.join(log)).expect("a log");
        let mut command = process::command("java");
        command
            .arg(format!("-Xmx{heap}"))
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .arg(format!("-Dlog4j.configuration=file:{}/log4j.properties", self.dir.display()))
            .arg("-cp")
            .arg(jars.join("*"))
            .arg(main)
            .stdout(log.try_clone().expect("a second handle on the log"))
            .stderr(log);
        command
    }

    pub(crate) fn said(&self, log: &str) -> String {
        tail(&self.dir.join(log))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let mut processes = self.lock();
        while let Some(process) = processes.pop() {
            drop(process);
        }
        drop(processes);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// What both versions are told. Small and quick, but nothing that changes what clients see: no topic appears
/// by itself, so that what lethe needs it creates or names.
const COMMON: &str = "\
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
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

const LOG4J: &str = "\
log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n
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

fn require_java() {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let found = *FOUND.get_or_init(|| Command::new("java").arg("-version").output().is_ok());
    assert!(found, "java is missing: apt-get install openjdk-17-jre-headless maven");
}

fn tail(path: &Path) -> String {
    const LINES_MAX: usize = 40;
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LINES_MAX)..).unwrap_or_default().join("\n")
}
