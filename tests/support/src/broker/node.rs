//! One Kafka process of a broker or a cluster: its directory, its ports, its starts and ends.
//!
//! A node has two listeners. The one behind [`crate::proxy::Proxy`] is advertised under the proxy's port, so
//! that a client that begins there stays there; nothing is lost where no proxy runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rustix::process::Signal;

use super::{Version, free_port};
use crate::jars;
use crate::process::{self, Process};
use crate::rights::{self, Doors};
use crate::wait::{PATIENCE, within};

/// One Kafka process.
#[derive(Debug)]
pub struct Node {
    version: Version,
    /// Its number in the cluster, from 1.
    pub(super) id: usize,
    dir: PathBuf,
    port: u16,
    /// The listener behind a proxy, and the port under which it is advertised.
    pub(super) port_behind: u16,
    pub(super) port_proxy: u16,
    /// KRaft's controller or ZooKeeper.
    pub(super) port_metadata: u16,
    /// Where clients log in, of a broker that asks them to.
    pub(super) doors: Option<Doors>,
    process: Mutex<Option<Process>>,
}

impl Node {
    pub(super) fn new(version: Version, id: usize, guarded: bool) -> Self {
        let dir = process::directory(&format!("kafka-{version}"));
        let doors = guarded.then(|| Doors::new(&dir));
        Self {
            version,
            id,
            dir,
            port: free_port(),
            port_behind: free_port(),
            port_proxy: free_port(),
            port_metadata: free_port(),
            doors,
            process: Mutex::new(None),
        }
    }

    /// Stops it at once, as a power failure would; what it wrote stays.
    pub fn kill(&self) {
        drop(self.lock().take());
    }

    /// Tells it to stop, and waits for its end.
    pub fn shut_down(&self) {
        if let Some(mut process) = self.lock().take() {
            process.signal(Signal::TERM);
            process.wait();
        }
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// Where it does not start, with what it said.
    pub fn start(&self) {
        // ZooKeeper remembers the former broker until its session ends, and refuses a new one until then.
        let outcome = within(PATIENCE, || {
            self.launch();
            self.wait_until_ready().inspect_err(|_| self.kill())
        });
        outcome.unwrap_or_else(|said| panic!("Kafka {} did not start again: {said}", self.version));
    }

    /// Makes it stand still, without closing a connection.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Node::pause`].
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn process_id(&self) -> Option<u32> {
        self.lock().as_ref().map(Process::id)
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = self.lock().as_mut() {
            process.signal(signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its logs are: a directory for each partition.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Writes its settings; `voters` are KRaft's, by node. KRaft's log directory is formatted too.
    pub(super) fn configure(&self, common: &str, voters: &str) -> Result<(), String> {
        let (dir, id, metadata) = (self.dir.display(), self.id, self.port_metadata);
        let (address, behind) = (self.address(), format!("127.0.0.1:{}", self.port_behind));
        let proxy = format!("127.0.0.1:{}", self.port_proxy);
        let (guarded, rules) = self.doors.as_ref().map(Doors::configuration).unwrap_or_default();
        let listeners = format!("PLAINTEXT://{address},PROXIED://{behind}{guarded}");
        let clients = format!(
            "{common}{rules}{PROTOCOLS}\
             advertised.listeners=PLAINTEXT://{address},PROXIED://{proxy}{guarded}\n\
             inter.broker.listener.name=PLAINTEXT\nlog.dirs={dir}/data\n"
        );
        match self.version {
            Version::V4 => {
                let text = format!(
                    "{clients}process.roles=broker,controller\nnode.id={id}\n\
                     controller.quorum.voters={voters}\ncontroller.listener.names=CONTROLLER\n\
                     listeners={listeners},CONTROLLER://127.0.0.1:{metadata}\n"
                );
                self.write("server.properties", &text);
                self.format()
            }
            Version::V2 => {
                let text = format!(
                    "{clients}broker.id={id}\nlisteners={listeners}\n\
                     zookeeper.connect=127.0.0.1:{metadata}\n\
                     zookeeper.connection.timeout.ms=60000\nzookeeper.session.timeout.ms=6000\n"
                );
                self.write("server.properties", &text);
                let text = format!(
                    "dataDir={dir}/zookeeper\nclientPort={metadata}\n\
                     clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n"
                );
                self.write("zookeeper.properties", &text);
                self.write("log4j.properties", LOG4J);
                Ok(())
            }
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

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

    /// ZooKeeper, of the version that needs it.
    pub(super) fn zookeeper(&self) -> Option<Process> {
        let main = match self.version {
            Version::V4 => return None,
            Version::V2 => "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        };
        let mut command = self.java(main, "128m", "zookeeper.log");
        command.arg(self.dir.join("zookeeper.properties"));
        Some(Process::start("ZooKeeper", command))
    }

    /// Starts it, without waiting for anything.
    pub(super) fn launch(&self) {
        let mut command = self.java("kafka.Kafka", "512m", "kafka.log");
        command.arg(self.dir.join("server.properties"));
        *self.lock() = Some(Process::start("Kafka", command));
    }

    /// Ready is: it answers who it is. An early exit ends the wait.
    pub(super) fn wait_until_ready(&self) -> Result<(), String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set("broker.address.family", "v4");
        let client: BaseConsumer = config.create().expect("a client");
        let start = Instant::now();
        let said = || self.said("kafka.log");
        loop {
            if self.lock().as_mut().is_none_or(|process| process.exit().is_some()) {
                return Err(format!("{}\n{}", self.said("zookeeper.log"), said()));
            }
            let wanted = i32::try_from(self.id).unwrap_or_default();
            match client.fetch_metadata(None, Duration::from_secs(1)) {
                Ok(metadata) if metadata.brokers().iter().any(|broker| broker.id() == wanted) => {
                    return Ok(());
                }
                Ok(_) | Err(_) if start.elapsed() < PATIENCE => {}
                Ok(_) => return Err("it is not in its cluster".to_owned()),
                Err(error) => return Err(format!("{error}\n{}", said())),
            }
        }
    }

    pub(super) fn said(&self, log: &str) -> String {
        tail(&self.dir.join(log))
    }

    pub(super) fn java(&self, main: &str, heap: &str, log: &str) -> Command {
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
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        process::discard(&self.dir);
    }
}

/// What each listener speaks.
const PROTOCOLS: &str = "listener.security.protocol.map=\
                         PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,\
                         GUARDED:SASL_PLAINTEXT,SECURE:SASL_SSL,MUTUAL:SSL\n";

const LOG4J: &str = "\
log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n
";

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
