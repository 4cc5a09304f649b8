//! The built program as a process: configuration, signals, pages, logs, exit codes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;

use crate::broker::free_port;
use crate::bus::{AUDIT, Bus, CONTROL, DEAD_LETTERS};
use crate::process::{self, Process};
use crate::wait::{PATIENCE, within};
use crate::{http, search};

/// The configuration's keys for the names of topics, and the names in the contract.
const TOPIC_KEYS: [(&str, &str); 12] = [
    ("messages", "im.messages"),
    ("profiles", "im.profiles"),
    ("configs", "im.configs"),
    ("store_messages", "store.messages"),
    ("store_profiles", "store.profiles"),
    ("store_configs", "store.configs"),
    ("transit_messages", "transit.messages"),
    ("transit_profiles", "transit.profiles"),
    ("control", CONTROL),
    ("audit", AUDIT),
    ("dead_letters", DEAD_LETTERS),
    ("changelog_prefix", "lethe.changelog."),
];

/// How a process of lethe is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program: `env!("CARGO_BIN_EXE_lethe")`.
    pub program: PathBuf,
    /// The broker's address.
    pub brokers: String,
    /// The consumer group.
    pub group: String,
    /// The instance's name.
    pub instance: String,
    /// Where its state is.
    pub data: PathBuf,
    /// How many workers.
    pub workers: u32,
    /// The names of its topics by their keys in the configuration.
    pub topics: BTreeMap<String, String>,
    /// More lines of the configuration file, above its tables.
    pub settings: String,
    /// librdkafka's properties.
    pub kafka: BTreeMap<String, String>,
    /// More flags.
    pub flags: Vec<String>,
    /// A program and its arguments that start it.
    pub through: Vec<String>,
    /// More of the environment.
    pub environment: BTreeMap<String, String>,
}

impl Setup {
    /// A process named `instance` on the topics of a test.
    #[must_use]
    pub fn new(program: &str, bus: &Bus<'_>, instance: &str) -> Self {
        let topic = |(key, name): &(&str, &str)| ((*key).to_owned(), bus.topic(name));
        Self {
            program: PathBuf::from(program),
            brokers: bus.broker().address(),
            group: bus.prefix().to_owned(),
            instance: instance.to_owned(),
            data: process::directory(&format!("{}-{instance}", bus.prefix())),
            workers: 1,
            topics: TOPIC_KEYS.iter().map(topic).collect(),
            settings: String::new(),
            kafka: BTreeMap::new(),
            flags: Vec::new(),
            through: Vec::new(),
            environment: BTreeMap::new(),
        }
    }

    /// Starts it, without waiting for anything.
    #[must_use]
    pub fn start(&self) -> Lethe {
        let dir = process::directory(&format!("{}-run", self.instance));
        let config = self.write_config();
        let http = format!("127.0.0.1:{}", free_port());
        let program = self.program.display().to_string();
        let mut words = self.through.iter().map(String::as_str).chain([program.as_str()]);
        let mut command = process::command(words.next().unwrap_or_default());
        command.args(words);
        without_settings(&mut command);
        command.envs(&self.environment);
        command.args(["run", "--brokers", &self.brokers, "--group", &self.group]);
        command.args(["--http", &http, "--instance", &self.instance]);
        command.args(["--workers", &self.workers.to_string()]);
        command.arg("--data-dir").arg(&self.data).arg("--config").arg(&config).args(&self.flags);
        let said = |name: &str| File::create(dir.join(name)).expect("a log");
        command.stdout(said("stdout")).stderr(said("stderr"));
        let process = Process::start(&format!("lethe {}", self.instance), command);
        Lethe { process, http, dir, data: self.data.clone() }
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// Where it ends or is not ready in time, with what it said.
    #[must_use]
    pub fn run(&self) -> Lethe {
        let mut lethe = self.start();
        lethe.wait_until_ready();
        lethe
    }

    /// The configuration file: for the verbs that are not `run`.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[must_use]
    pub fn write_config(&self) -> PathBuf {
        let config = process::directory(&format!("{}-config", self.instance)).join("lethe.toml");
        fs::write(&config, self.toml()).expect("a configuration file");
        config
    }

    fn toml(&self) -> String {
        let mut toml = format!("{}\n[topics]\n", self.settings);
        for (name, topic) in &self.topics {
            let _ = writeln!(toml, "{:?} = {topic:?}", name);
        }
        toml.push_str("[kafka]\n");
        for (property, value) in &self.kafka {
            let _ = writeln!(toml, "{property:?} = {value:?}");
        }
        toml
    }
}

/// A running process of lethe; killed when dropped. Where its test fails, it shows the end of its log.
#[derive(Debug)]
pub struct Lethe {
    process: Process,
    http: String,
    dir: PathBuf,
    data: PathBuf,
}

impl Lethe {
    /// Where its HTTP listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.http.clone()
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Panics
    /// Where it ends or is not ready in time.
    pub fn wait_until_ready(&mut self) {
        let outcome = within(PATIENCE, || {
            assert!(self.process.exit().is_none(), "lethe ended before it was ready");
            match self.get("/readyz")? {
                (200, _) => Ok(()),
                (status, body) => Err(format!("{status}: {body}")),
            }
        });
        outcome.unwrap_or_else(|last| panic!("lethe is not ready: {last}"));
    }

    /// The status and the body of one of its pages.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn get(&self, path: &str) -> Result<(u16, String), String> {
        http::get(&self.http, path)
    }

    /// The sum of a metric's series that have all these labels (`topic="…"`); none: there is no such series.
    ///
    /// # Panics
    /// Where `/metrics` does not answer.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let (status, page) = self.get("/metrics").expect("/metrics answers");
        assert_eq!(status, 200, "/metrics: {page}");
        let values = page.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, found_labels) = series.split_once('{').unwrap_or((series, ""));
            let has =
                |(key, value): &(&str, &str)| found_labels.contains(&format!("{key}=\"{value}\""));
            (found == name && labels.iter().all(has)).then(|| value.parse::<f64>().ok())?
        });
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// What it has logged under a message: the fields of each line.
    #[must_use]
    pub fn logged(&self, message: &str) -> Vec<serde_json::Value> {
        let said = self.said();
        let lines = said.lines().filter_map(|line| serde_json::from_str(line).ok());
        let is = |line: &serde_json::Value| line.get("message").is_some_and(|is| is == message);
        lines.filter(is).collect()
    }

    /// Asks it to stop (SIGTERM).
    pub fn tell_to_stop(&mut self) {
        self.process.signal(Signal::TERM);
    }

    /// Asks it to stop and waits for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.tell_to_stop();
        self.process.wait()
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Makes it stand still (SIGSTOP).
    pub fn pause(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on after [`Lethe::pause`].
    pub fn go_on(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// From now on its files may have so many bytes: what writes more meets a full disk. lethe is started
    /// [through](Setup::through) a program that lets it ignore the signal for that.
    ///
    /// # Panics
    /// Where that cannot be set.
    pub fn limit_file_bytes(&mut self, bytes: u32) {
        let limit = [format!("--pid={}", self.process.id()), format!("--fsize={bytes}")];
        let status = Command::new("prlimit").args(limit).status();
        assert!(status.expect("prlimit is in the Debian package util-linux").success());
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.exit().is_none()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// All that it has said so far, on both streams.
    #[must_use]
    pub fn said(&self) -> String {
        let read = |name| fs::read(self.dir.join(name)).unwrap_or_default();
        let said = [read("stdout"), read("stderr")].concat();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Where its state is.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Every place in which the marker is: its files, its log, its pages.
    #[must_use]
    pub fn places_with(&self, marker: &[u8]) -> Vec<String> {
        let mut places: Vec<String> = [&self.data, &self.dir]
            .iter()
            .flat_map(|dir| search::files_with(dir, marker))
            .map(|path| path.display().to_string())
            .collect();
        for page in ["/metrics", "/", "/livez", "/readyz"] {
            if let Ok((_, body)) = self.get(page)
                && search::contains(body.as_bytes(), marker)
            {
                places.push(page.to_owned());
            }
        }
        places
    }
}

impl Drop for Lethe {
    fn drop(&mut self) {
        if std::thread::panicking() {
            const TAIL_MAX: usize = 6_000;
            let said = self.said();
            let start = said.ceil_char_boundary(said.len().saturating_sub(TAIL_MAX));
            eprintln!(
                "── lethe said ──\n{}\n────────────────",
                said.get(start..).unwrap_or_default()
            );
        }
    }
}

/// Runs a verb to its end: the exit code, its standard output, its standard error.
///
/// # Panics
/// Where it cannot be started or is ended by a signal.
#[must_use]
pub fn verb(program: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(program);
    without_settings(&mut command);
    let output = command.args(args).output().expect("lethe starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("an exit code");
    (code, text(&output.stdout), text(&output.stderr))
}

/// The environment's settings are for whoever runs the tests, not for the program under test.
fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LETHE_") {
            command.env_remove(name);
        }
    }
}
