//! The settings: defaults, then the TOML file, then `LETHE_…` variables, then flags; the last wins.
//!
//! Invariant: past [`Settings::load`] every value is valid. An error names the key, where it was
//! set and what would be right, and never shows the value of a librdkafka property.

pub mod keys;

mod kafka;
mod layers;
mod text;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;

use crate::control::safety::Limits;
use crate::http::tls::Files;
use crate::pipeline::seam::Role;
use crate::pipeline::settings::{
    Beginning, CLASSES, OUTPUTS, PipelineSettings, Portions, Topics, WRITE_BUFFER_BYTES_MAX,
};
use layers::{File, Layer};
use values::Values;

/// Most workers of a process: beyond the cores of any machine they only cost connections.
const WORKERS_MAX: usize = 256;
/// Least memory for local state: below it every write is a flush.
const MEMORY_BYTES_MIN: usize = 16 << 20;
/// Bounds of the commit interval: markers dominate below, readers wait too long above.
const COMMIT_INTERVAL_MIN: Duration = Duration::from_millis(10);
const COMMIT_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// Most instances that follow a partition: each takes up the disk of its owner.
const STANDBYS_MAX: usize = 8;
/// Bounds of how long state is kept that is left over: less is not worth the look, and what changed for
/// longer than a year is restored anew anyway.
const KEPT_MIN: Duration = Duration::from_secs(1);
const KEPT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Longest grace of the safety catch: whoever wants longer names a time.
const GRACE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Longest transit limit that transit topics can be prepared for: ten years, as the terms' maximum.
const TRANSIT_LIMIT_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// Most tenants with series of their own: with three series each, `/metrics` stays a page that is
/// read in milliseconds.
const TENANTS_SHOWN_MAX: usize = 500;
/// Most partitions of a topic that lethe creates: a number beyond this is a slip.
const PARTITIONS_MAX: usize = 10_000;
/// Most replicas of a topic.
const REPLICATION_MAX: usize = 100;

/// Everything that the program was told.
#[derive(Clone)]
pub struct Settings {
    /// What the workers need.
    pub pipeline: PipelineSettings,
    /// Where the HTTP server listens.
    pub http: String,
    /// The file of tokens that the admin API knows.
    pub http_tokens: Option<PathBuf>,
    /// The HTTP server's certificate and key; none: it speaks plain HTTP.
    pub http_tls: Option<Files>,
    /// The file with the key under which the audit names users.
    pub audit_key: Option<PathBuf>,
    /// The HTTP servers of all of the group's processes.
    pub peers: Vec<String>,
    /// The authorities that are trusted for them.
    pub peers_ca: Option<PathBuf>,
    /// What has to be confirmed.
    pub safety: Limits,
    /// `run` creates topics that are missing.
    pub create_topics: bool,
    /// How topics are made.
    pub making: TopicMaking,
}

/// How lethe makes topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicMaking {
    /// Partitions of an input that lethe is told to create.
    pub input_partitions: i32,
    /// Replicas; none: the broker's default.
    pub replication: Option<i32>,
    /// The longest transit limit of all terms.
    pub transit_limit: Duration,
}

/// Why there are no settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {why}", path.display())]
    File {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A key that lethe does not know.
    #[error("unknown key `{key}` in {place}: {advice}")]
    Unknown {
        /// As it was written.
        key: String,
        /// Where.
        place: String,
        /// What may have been meant.
        advice: String,
    },
    /// A value that cannot be.
    #[error("`{key}` in {place} must be {expected}")]
    Value {
        /// Whose value.
        key: String,
        /// Where it was set.
        place: String,
        /// What would be right.
        expected: String,
    },
    /// A librdkafka property that is lethe's own to set.
    #[error("`{key}` in {place} cannot be set: {why}; remove it")]
    Refused {
        /// Which one.
        key: String,
        /// Where it was set.
        place: String,
        /// Why.
        why: &'static str,
    },
    /// Two topics with one name.
    #[error("the topic name `{0}` is used twice in [topics]: give each topic a name of its own")]
    TopicTwice(String),
}

impl Settings {
    /// Reads all layers: the file, these environment variables and these flags (key and value).
    ///
    /// # Errors
    /// The first key that is unknown or whose value cannot be.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Layer::defaults());
        if let Some(path) = file {
            figment = figment.merge(File::new(path));
        }
        let figment = figment.merge(Layer::environment(environment)).merge(Layer::flags(flags));
        Self::from_values(&Values::new(figment, file)?)
    }

    fn from_values(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            pipeline: pipeline(values)?,
            http: values.required("http", text::address)?,
            http_tokens: values.optional("http_tokens", |text| Ok(PathBuf::from(text)))?,
            http_tls: http_tls(values)?,
            audit_key: values.optional("audit_key", |text| Ok(PathBuf::from(text)))?,
            peers: values.optional("peers", text::addresses)?.unwrap_or_default(),
            peers_ca: values.optional("peers_ca", |text| Ok(PathBuf::from(text)))?,
            safety: safety(values)?,
            create_topics: values.required("create_topics", text::switch)?,
            making: making(values)?,
        })
    }
}

fn pipeline(values: &Values) -> Result<PipelineSettings, ConfigError> {
    let workers = values.optional("workers", text::number_within(1, WORKERS_MAX))?;
    let memory_bytes = values.required("memory", |text| match text::size(text)? {
        bytes if bytes >= MEMORY_BYTES_MIN => Ok(bytes),
        _ => Err("at least 16MiB".to_owned()),
    })?;
    let workers = workers.unwrap_or_else(cores);
    let write_buffer_bytes = (memory_bytes / 2).min(workers * WRITE_BUFFER_BYTES_MAX);
    let commit_interval = text::duration_within(COMMIT_INTERVAL_MIN, COMMIT_INTERVAL_MAX);
    Ok(PipelineSettings {
        brokers: values.required("brokers", text::brokers)?,
        group: values.required("group", text::name)?,
        data_dir: values.required("data_dir", directory)?,
        instance: values.optional("instance", text::name)?,
        workers,
        // Reads and writes share the memory equally; the shell's own buffers are bounded apart.
        cache_bytes: memory_bytes - write_buffer_bytes,
        write_buffer_bytes,
        commit_interval: values.required("commit_interval", commit_interval)?,
        topics: topics(values)?,
        kafka: values.kafka()?,
        dead_letter_values: values.required("dead_letters.values", text::switch)?,
        beginning: values.required("start", beginning)?,
        single_process: values.required("single_process", text::switch)?,
        embedded_broker: false,
        standbys: values.required("standbys", text::number_within(0, STANDBYS_MAX))?,
        state_kept: values.required("state_kept", text::duration_within(KEPT_MIN, KEPT_MAX))?,
        changelog_slack_bytes: values.required("changelog_slack", slack)?,
        portions: Portions::default(),
        control_id: values.optional("topics.control_id", text::name)?,
        tenants_shown: values
            .required("metrics.tenants", text::number_within(0, TENANTS_SHOWN_MAX))?,
        record_bytes_max: Default::default(),
    })
}

fn http_tls(values: &Values) -> Result<Option<Files>, ConfigError> {
    let file = |key| values.optional(key, |text| Ok(PathBuf::from(text)));
    let alone = |given: &'static str, missing: &str| {
        let (key, place) = (missing.to_owned(), "any layer".to_owned());
        Err(ConfigError::Value { key, place, expected: format!("set, as {given} is") })
    };
    match (file("http_certificate")?, file("http_key")?) {
        (Some(certificate), Some(key)) => Ok(Some(Files { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => alone("http_certificate", "http_key"),
        (None, Some(_)) => alone("http_key", "http_certificate"),
    }
}

fn safety(values: &Values) -> Result<Limits, ConfigError> {
    let number = |key, max| -> Result<u64, ConfigError> {
        Ok(values.required(key, text::number_within(0, max))? as u64)
    };
    Ok(Limits {
        records: number("safety.records", usize::MAX)?,
        share_percent: number("safety.share", 100)?,
        few: number("safety.few", usize::MAX)?,
        grace: values.required("safety.grace", text::duration_within(Duration::ZERO, GRACE_MAX))?,
    })
}

fn topics(values: &Values) -> Result<Topics, ConfigError> {
    let name = |key| values.required(key, text::topic);
    let topics = Topics {
        messages: name("topics.messages")?,
        profiles: name("topics.profiles")?,
        configs: name("topics.configs")?,
        store_messages: name("topics.store_messages")?,
        store_profiles: name("topics.store_profiles")?,
        store_configs: name("topics.store_configs")?,
        transit_messages: name("topics.transit_messages")?,
        transit_profiles: name("topics.transit_profiles")?,
        control: name("topics.control")?,
        audit: name("topics.audit")?,
        dead_letters: name("topics.dead_letters")?,
        changelog_prefix: name("topics.changelog_prefix")?,
    };
    check_distinct(&topics)?;
    for class in CLASSES {
        // The prefix alone may fit where the whole name does not.
        let input = topics.input(class);
        values.required("topics.changelog_prefix", |prefix| {
            text::topic(&format!("{prefix}{input}"))
        })?;
    }
    Ok(topics)
}

fn check_distinct(topics: &Topics) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    let inputs = CLASSES.map(Role::Input);
    for role in inputs.into_iter().chain(OUTPUTS).chain([Role::Control]) {
        let name = topics.name(role);
        if !names.insert(name.clone()) {
            return Err(ConfigError::TopicTwice(name));
        }
    }
    Ok(())
}

fn making(values: &Values) -> Result<TopicMaking, ConfigError> {
    let small = |key, min, max| -> Result<i32, ConfigError> {
        let number = values.required(key, text::number_within(min, max))?;
        Ok(i32::try_from(number).unwrap_or(i32::MAX))
    };
    let replication = small("topics.replication", 0, REPLICATION_MAX)?;
    let transit_limit = text::duration_within(Duration::from_secs(1), TRANSIT_LIMIT_MAX);
    Ok(TopicMaking {
        input_partitions: small("topics.partitions", 1, PARTITIONS_MAX)?,
        replication: (replication > 0).then_some(replication),
        transit_limit: values.required("topics.transit_limit", transit_limit)?,
    })
}

/// Half of what the changelog may have beside three times its ledger, less what comes meanwhile.
fn slack(text: &str) -> Result<u64, String> {
    u64::try_from(text::size(text)?).map_err(|_| "a size".to_owned())
}

fn directory(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a directory".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn beginning(text: &str) -> Result<Beginning, String> {
    match text {
        "earliest" => Ok(Beginning::Earliest),
        "latest" => Ok(Beginning::Latest),
        _ => Err("earliest or latest".to_owned()),
    }
}

/// One worker a core.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX)
}
