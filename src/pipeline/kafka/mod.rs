//! Kafka through rdkafka: the real side of the seam.
//!
//! `native` is the one audited module with unsafe code.

pub(crate) mod config;
mod context;
mod counts;
mod early;
mod errors;
mod figures;
mod group;
mod input;
mod log;
mod native;
mod output;
mod positions;
mod removal;
mod rights;
mod source;
mod version;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::seam::{Capabilities, Fault, Kafka, PartitionId, Reading, Role, Roster};
use super::settings::{CALL_TIMEOUT, PipelineSettings};
use context::{Quiet, Reach};
use counts::Counts;
use early::Early;
pub(crate) use errors::unusable;
pub use input::RdInput;
pub use log::RdLog;
pub use output::RdOutput;
pub(crate) use output::flush;
pub use positions::Positions;
use removal::Remover;
pub use source::RdSource;

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
    /// How many partitions the cluster's topics have.
    counts: Counts,
    /// The workers' first producers.
    outputs: Mutex<Early>,
}

impl RdKafka {
    /// Reaches the cluster once. `Fault::Retry` as long as no broker answers.
    pub fn connect(settings: Arc<PipelineSettings>, instance: String) -> Result<Self, Fault> {
        let reach = Arc::new(Reach::default());
        let context = Quiet { reach: Arc::clone(&reach) };
        let whole: BaseConsumer<Quiet> = config::whole(&settings)
            .create_with_context(context)
            .map_err(|error| errors::creation(&error))?;
        let whole = Arc::new(whole);
        let counts = Counts::ask(Arc::clone(&whole))?;
        let cluster_id = whole.client().fetch_cluster_id(CALL_TIMEOUT).unwrap_or_default();
        Ok(Self {
            settings,
            instance,
            cluster_id,
            reach,
            whole,
            remover: OnceLock::new(),
            topic_ids: Mutex::default(),
            counts,
            outputs: Mutex::default(),
        })
    }

    /// Begins to initialise the producers of all workers, which fences an earlier process of this
    /// instance: for the process that holds its data directory alone.
    pub fn begin_outputs(&self) {
        let begun = Early::begin(&self.settings, &self.instance, &self.reach);
        *self.outputs.lock().unwrap_or_else(PoisonError::into_inner) = begun;
    }

    /// Refuses a cluster that cannot fence the commits of a member that lost its place.
    pub fn check_fencing(&self) -> Result<(), Fault> {
        if self.settings.embedded_broker || self.settings.single_process {
            return Ok(());
        }
        version::check(&self.settings, &self.whole)
    }

    /// Those who are in the group, also while a rebalance is under way; none: the brokers do not tell.
    pub fn group_members(&self) -> Result<Option<Vec<String>>, Fault> {
        group::members(&self.settings.group, &self.whole)
    }

    /// The group's positions, for one who is not in it.
    pub fn positions(&self) -> Result<Positions, Fault> {
        Positions::create(&self.settings, Arc::clone(&self.reach))
    }

    /// The end of each of these partitions of the inputs, as a read-uncommitted client sees it.
    pub fn ends(
        &self,
        ids: impl Iterator<Item = PartitionId>,
    ) -> Result<BTreeMap<PartitionId, i64>, Fault> {
        let what = "asking for the ends of the inputs";
        let failed = |error| errors::call(what, &error);
        let mut list = TopicPartitionList::new();
        for id in ids {
            let topic = self.settings.topics.input(id.class);
            list.add_partition_offset(topic, id.partition, Offset::End).map_err(failed)?;
        }
        if list.count() == 0 {
            return Ok(BTreeMap::new());
        }
        // The protocol's way to ask for many ends at once: "the end" in place of a time.
        let ends = self.whole.offsets_for_times(list, CALL_TIMEOUT).map_err(failed)?;
        let end = |element: &TopicPartitionListElem<'_>| {
            let class = self.settings.topics.class(element.topic())?;
            let id = PartitionId { class, partition: element.partition() };
            Some((id, element.offset().to_raw().filter(|&end| end >= 0)?))
        };
        Ok(ends.elements().iter().filter_map(end).collect())
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

    /// How many partitions a topic has, if it is there.
    pub fn find(&self, role: Role) -> Result<Option<i32>, Fault> {
        self.counts.find(&self.settings.topics.name(role))
    }

    /// Forgets what is known of the cluster's topics: some were made meanwhile.
    pub fn look_again(&self) {
        self.counts.look_again();
    }
}

impl Kafka for RdKafka {
    type Input = RdInput;
    type Output = RdOutput;
    type Log = RdLog;
    type Source = RdSource;

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
        self.counts.of(&self.settings.topics.name(role))
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

    fn refuses_removals(&self) -> bool {
        self.remover.get().is_some_and(Remover::is_refused)
    }

    fn roster(&self) -> Result<Option<Roster>, Fault> {
        if self.settings.embedded_broker {
            return Ok(None);
        }
        group::roster(&self.settings, &self.whole)
    }

    fn members(&self, group: &str) -> Result<Option<usize>, Fault> {
        Ok(group::members(group, &self.whole)?.map(|members| members.len()))
    }

    fn input(&self, worker: usize) -> Result<RdInput, Fault> {
        RdInput::create(&self.settings, &self.instance, worker, Arc::clone(&self.reach))
    }

    fn output(&self, worker: usize) -> Result<RdOutput, Fault> {
        let early = self.outputs.lock().unwrap_or_else(PoisonError::into_inner).take(worker);
        match early.and_then(Early::finish) {
            Some(output) => Ok(output),
            None => {
                RdOutput::create(&self.settings, &self.instance, worker, Arc::clone(&self.reach))
            }
        }
    }

    fn log(&self, reading: Reading) -> Result<RdLog, Fault> {
        RdLog::create(&self.settings, reading, Arc::clone(&self.whole), Arc::clone(&self.reach))
    }

    fn source(&self) -> Result<RdSource, Fault> {
        RdSource::create(&self.settings, Arc::clone(&self.whole), Arc::clone(&self.reach))
    }
}
