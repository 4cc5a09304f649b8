//! Kafka through rdkafka: the real side of the seam.
//!
//! `native` is the one audited module with unsafe code.

pub(crate) mod config;
mod context;
mod errors;
mod input;
mod log;
mod native;
mod output;
mod removal;
mod rights;
mod version;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::seam::{Capabilities, Fault, Kafka, Reading, Role};
use super::settings::{CALL_TIMEOUT, PipelineSettings};
use context::{Quiet, Reach};
pub(crate) use errors::unusable;
pub use input::RdInput;
pub use log::RdLog;
pub use output::RdOutput;
pub(crate) use output::flush;
use removal::Remover;

/// A real cluster (or the embedded one), as this process sees it.
pub struct RdKafka {
    settings: Arc<PipelineSettings>,
    /// The name of this process in the group.
    instance: String,
    cluster_id: String,
    /// Whether a broker answers; shared by every client, so that it is said once.
    reach: Arc<Reach>,
    /// For metadata and for watermarks as a read-uncommitted client sees them.
    whole: Arc<BaseConsumer<Quiet>>,
    /// Removes records of changelogs, once there was something to remove.
    remover: OnceLock<Remover>,
    /// The ids of topics, where the broker tells them, as of the start.
    topic_ids: Mutex<BTreeMap<Role, String>>,
}

impl RdKafka {
    /// Reaches the cluster once. `Fault::Retry` as long as no broker answers.
    pub fn connect(settings: Arc<PipelineSettings>, instance: String) -> Result<Self, Fault> {
        let reach = Arc::new(Reach::default());
        let context = Quiet { reach: Arc::clone(&reach) };
        let whole: BaseConsumer<Quiet> = config::whole(&settings)
            .create_with_context(context)
            .map_err(|error| errors::creation(&error))?;
        whole
            .fetch_metadata(Some(&settings.topics.control), CALL_TIMEOUT)
            .map_err(|error| errors::call("asking for the cluster's metadata", &error))?;
        let cluster_id = whole.client().fetch_cluster_id(CALL_TIMEOUT).unwrap_or_default();
        Ok(Self {
            settings,
            instance,
            cluster_id,
            reach,
            whole: Arc::new(whole),
            remover: OnceLock::new(),
            topic_ids: Mutex::default(),
        })
    }

    /// Refuses a cluster that cannot fence the commits of a member that lost its place.
    pub fn check_fencing(&self) -> Result<(), Fault> {
        if self.settings.embedded_broker || self.settings.single_process {
            return Ok(());
        }
        version::check(&self.settings, &self.whole)
    }

    /// Asks for the ids of the topics, once, and whether lethe's user has the rights that it needs.
    pub fn learn_topics(&self) -> Result<(), Fault> {
        if self.settings.embedded_broker {
            return Ok(());
        }
        let roles: Vec<Role> = rights::roles().collect();
        let topics = rights::describe(&self.whole, &self.settings.topics, &roles)?;
        if let Some(why) = rights::missing(&topics) {
            return Err(Fault::Stop(why));
        }
        for topic in rights::unremovable(&topics) {
            tracing::warn!(
                topic,
                "lethe's user may not remove records, so that the changelog grows: grant Delete on it"
            );
        }
        let mut known = self.topic_ids.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(topics.into_iter().filter_map(|(role, topic)| Some((role, topic.id?))));
        Ok(())
    }

    /// The rights that lethe's user lacks now, if any: to be asked once a call was refused.
    #[must_use]
    pub fn missing_rights(&self) -> Option<String> {
        let roles: Vec<Role> = rights::roles().collect();
        rights::missing(&rights::describe(&self.whole, &self.settings.topics, &roles).ok()?)
    }
}

impl Kafka for RdKafka {
    type Input = RdInput;
    type Output = RdOutput;
    type Log = RdLog;

    fn capabilities(&self) -> Capabilities {
        let real = !self.settings.embedded_broker;
        Capabilities {
            broker_time: real,
            group_fencing: real && !self.settings.single_process,
            isolation: real,
            delete_records: real,
        }
    }

    fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    fn partitions(&self, role: Role) -> Result<i32, Fault> {
        let name = self.settings.topics.name(role);
        let metadata = self.whole.fetch_metadata(Some(&name), CALL_TIMEOUT).map_err(|error| {
            errors::call(&format!("asking for the partitions of {name}"), &error)
        })?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        let Some(topic) = topic.filter(|topic| topic.error().is_none()) else {
            return Err(errors::missing_topic(&name, topic.and_then(|topic| topic.error())));
        };
        let count = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
        if count == 0 {
            return Err(errors::missing_topic(&name, None));
        }
        Ok(count)
    }

    fn topic_id(&self, role: Role) -> Option<String> {
        let known = self.topic_ids.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&role).cloned()
    }

    fn remove_before(&self, role: Role, partition: i32, offset: i64) {
        if self.remover.get().is_none() {
            match Remover::start(&self.settings) {
                Ok(remover) => drop(self.remover.set(remover)),
                Err(fault) => tracing::warn!("records cannot be removed: {fault}"),
            }
        }
        if let Some(remover) = self.remover.get() {
            remover.ask(&self.settings, role, partition, offset);
        }
    }

    fn input(&self, worker: usize) -> Result<RdInput, Fault> {
        RdInput::join(&self.settings, &self.instance, worker, Arc::clone(&self.reach))
    }

    fn output(&self, worker: usize) -> Result<RdOutput, Fault> {
        RdOutput::create(&self.settings, &self.instance, worker, Arc::clone(&self.reach))
    }

    fn log(&self, reading: Reading) -> Result<RdLog, Fault> {
        RdLog::create(&self.settings, reading, Arc::clone(&self.whole), Arc::clone(&self.reach))
    }
}
