//! What the pipeline is told at start, and the bounds that it keeps.
//!
//! Invariant: every queue, batch and retry of the pipeline has its bound here, with its reason.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use lethe_engine::{Class, Storage};

use super::seam::Role;

/// How often the ends of the inputs are asked for, to tell the consumer lag; and how often librdkafka
/// tells its figures.
pub const LAG_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether the host's clock was set back.
pub const CLOCK_EVERY: Duration = Duration::from_secs(1);
/// A step back by less is waited out: heartbeats stop for no longer than half of a session.
pub const STEP_BACK_MS_MAX: i64 = 5_000;
/// Records of one batch: bounds the overlay (some 200 bytes each) and the time of one commit.
pub const BATCH_RECORDS_MAX: usize = 32_768;
/// Input bytes of one batch: half of the producer's queue, so that a batch never waits for room.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// The producer's queue: two batches and their tombstones.
pub const PRODUCER_QUEUE_KBYTES: u32 = 48 << 10;
/// Records in the producer's queue: a batch, with as many tombstones of a look.
pub const PRODUCER_QUEUE_RECORDS: u32 = 4 * BATCH_RECORDS_MAX as u32;
/// The consumer's queue per worker: more than what comes while a batch is committed.
pub const FETCH_QUEUE_KBYTES: u32 = 4 << 10;
/// What a fetch brings of one partition. Compressed: in memory it is several times as much.
pub const FETCH_PARTITION_BYTES: u32 = 512 << 10;
/// The queue of a reader of what is read again: a quarter of a batch, and only while there is a replay.
pub const SOURCE_QUEUE_KBYTES: u32 = 4 << 10;
/// Ledger rows that one look may read between records: some 10 ms.
pub const LOOK_ROWS: usize = 8_192;
/// Tombstones and audits of one batch: as many as records.
pub const BATCH_EFFECTS_MAX: usize = BATCH_RECORDS_MAX;
/// The same, of looks alone, where the batch has so many live records: these wait for all of it.
pub const BATCH_ENDED_BESIDE: usize = 12_288;
/// See [`BATCH_ENDED_BESIDE`].
pub const LIVE_FLOWS_RECORDS: usize = 256;
/// Control records that a partition applies in one batch.
pub const BATCH_CONTROL_MAX: usize = 1_024;
/// Records that a step takes from the input before it looks around.
pub const STEP_RECORDS_MAX: usize = 4_096;
/// Changelog records that a step restores beside working partitions: some 20 ms.
pub const STEP_RESTORE_RECORDS_MAX: usize = 512;
/// Changelog bytes that a step restores beside working partitions: some 20 ms, as the records.
pub const STEP_RESTORE_BYTES_MAX: usize = 2 << 20;
/// How often the clock is read: once for so many records.
pub const CLOCK_RECORDS: usize = 64;
/// The largest changelog record: far below any broker's limit.
pub const DELTA_PART_BYTES_MAX: usize = 256 << 10;
/// Snapshot bytes of one transaction: some 20 ms to read, encode and write.
pub const SNAPSHOT_SLICE_BYTES: usize = 2 << 20;
/// A snapshot is replaced in time, because its ledger may have become small since (what ends leaves no
/// deltas to speak of): not before this.
pub const SNAPSHOT_AGE_MS_MIN: u64 = 10 * 60 * 1000;
/// And not before it could have been written at this pace: so much a partition this may cost, at most.
pub const SNAPSHOT_RENEWAL_BYTES_A_MS: u64 = 256;
/// How often the length of changelogs is looked at.
pub const UPKEEP_EVERY: Duration = Duration::from_millis(250);
/// Rows of books that one look at them reads for the metrics: some milliseconds.
pub const CENSUS_ROWS: usize = 4_096;
/// Without traffic a delta is written so often, to learn the broker's time.
pub const TIME_REFRESH: Duration = Duration::from_secs(60);
/// How long the worker waits for input before it looks at the clock and the control log again.
pub const IDLE_WAIT: Duration = Duration::from_millis(50);
/// The broker aborts a transaction that is open longer: its readers wait no longer than this.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The group gives a silent worker's partitions to others after this.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// A worker that leaves the group waits so long for what is under way there.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// So long the end of a consumer is waited for: within what a stop may take.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a call to the broker may take before it counts as failed.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Write buffers of a worker's stores: what is in them when a process is killed is read again at its
/// restart, some 700,000 rows, which takes a worker less than a second.
pub const WRITE_BUFFER_BYTES_MAX: usize = 96 << 20;
/// How long a worker waits for committed positions at once: one that another's open transaction can
/// still change has no answer before that has ended, and the others go on meanwhile.
pub const COMMITTED_TIMEOUT: Duration = Duration::from_secs(1);
/// How long what a cluster said of its topics counts as known: partitions are asked about together.
pub const TOPICS_FRESH: Duration = Duration::from_secs(1);
/// Stores that a worker opens at once: most of it is waiting for the disk.
pub const OPENS_MAX: usize = 16;
/// The first wait after a failed call; it doubles up to [`BACKOFF_MAX`].
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A producer that has to be replaced more often than this within [`REPLACE_WINDOW`] ends the worker.
pub const REPLACE_MAX: u32 = 10;
/// See [`REPLACE_MAX`].
pub const REPLACE_WINDOW: Duration = Duration::from_secs(120);
/// Bytes of a record beside key, value and headers that the limit of a topic counts: batch and
/// record framing, and lethe's own tags.
pub const RECORD_OVERHEAD_BYTES: usize = 512;
/// The limit of a topic whose `max.message.bytes` is not known: Kafka's default.
pub const RECORD_BYTES_MAX_DEFAULT: usize = 1_048_588;
/// The control topic must keep every record in order for this long (contract).
pub const CONTROL_LAG_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Where a group without a position begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With the oldest record that is there.
    Earliest,
    /// With what comes from now on.
    Latest,
}

/// The names of the topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Chat messages, in.
    pub messages: String,
    /// User profiles, in.
    pub profiles: String,
    /// Config items, in.
    pub configs: String,
    /// Stored messages.
    pub store_messages: String,
    /// Stored profiles.
    pub store_profiles: String,
    /// Stored config items.
    pub store_configs: String,
    /// Messages in transit.
    pub transit_messages: String,
    /// Profiles in transit.
    pub transit_profiles: String,
    /// What tenants and operators said.
    pub control: String,
    /// Reports.
    pub audit: String,
    /// Input that could not be processed.
    pub dead_letters: String,
    /// The beginning of each changelog's name; the input's name follows.
    pub changelog_prefix: String,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            messages: "im.messages".into(),
            profiles: "im.profiles".into(),
            configs: "im.configs".into(),
            store_messages: "store.messages".into(),
            store_profiles: "store.profiles".into(),
            store_configs: "store.configs".into(),
            transit_messages: "transit.messages".into(),
            transit_profiles: "transit.profiles".into(),
            control: "lethe.control".into(),
            audit: "lethe.audit".into(),
            dead_letters: "lethe.dlq".into(),
            changelog_prefix: "lethe.changelog.".into(),
        }
    }
}

impl Topics {
    /// The name of the topic that has a role.
    #[must_use]
    pub fn name(&self, role: Role) -> String {
        match role {
            Role::Input(class) => self.input(class).to_owned(),
            Role::Output(Class::Message, Storage::Stored) => self.store_messages.clone(),
            Role::Output(Class::Message, Storage::Transit) => self.transit_messages.clone(),
            Role::Output(Class::Profile, Storage::Stored) => self.store_profiles.clone(),
            Role::Output(Class::Profile, Storage::Transit) => self.transit_profiles.clone(),
            // Config items are kept for every tenant: they have no transit.
            Role::Output(Class::Config, Storage::Stored | Storage::Transit) => {
                self.store_configs.clone()
            }
            Role::Changelog(class) => format!("{}{}", self.changelog_prefix, self.input(class)),
            Role::Control => self.control.clone(),
            Role::Audit => self.audit.clone(),
            Role::DeadLetters => self.dead_letters.clone(),
        }
    }

    /// The name of a class's input topic.
    #[must_use]
    pub fn input(&self, class: Class) -> &str {
        match class {
            Class::Message => &self.messages,
            Class::Profile => &self.profiles,
            Class::Config => &self.configs,
        }
    }

    /// The class of an input topic.
    #[must_use]
    pub fn class(&self, input: &str) -> Option<Class> {
        CLASSES.into_iter().find(|&class| self.input(class) == input)
    }
}

/// Every class, in the order in which topics are shown.
pub const CLASSES: [Class; 3] = [Class::Message, Class::Profile, Class::Config];

/// Every role of a topic that a worker writes to.
pub const OUTPUTS: [Role; 10] = [
    Role::Output(Class::Message, Storage::Stored),
    Role::Output(Class::Message, Storage::Transit),
    Role::Output(Class::Profile, Storage::Stored),
    Role::Output(Class::Profile, Storage::Transit),
    Role::Output(Class::Config, Storage::Stored),
    Role::Changelog(Class::Message),
    Role::Changelog(Class::Profile),
    Role::Changelog(Class::Config),
    Role::Audit,
    Role::DeadLetters,
];

/// Every role of a topic that lethe reads for itself.
pub const LOGS: [Role; 5] = [
    Role::Audit,
    Role::Control,
    Role::Changelog(Class::Message),
    Role::Changelog(Class::Profile),
    Role::Changelog(Class::Config),
];

/// How much is taken at once, where a simulation needs little to see it cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portions {
    /// See [`BATCH_RECORDS_MAX`].
    pub batch_records_max: usize,
    /// See [`BATCH_CONTROL_MAX`].
    pub batch_control_max: usize,
    /// See [`LOOK_ROWS`].
    pub look_rows: usize,
    /// See [`DELTA_PART_BYTES_MAX`].
    pub delta_part_bytes_max: usize,
    /// See [`SNAPSHOT_SLICE_BYTES`].
    pub snapshot_slice_bytes: usize,
}

impl Default for Portions {
    fn default() -> Self {
        Self {
            batch_records_max: BATCH_RECORDS_MAX,
            batch_control_max: BATCH_CONTROL_MAX,
            look_rows: LOOK_ROWS,
            delta_part_bytes_max: DELTA_PART_BYTES_MAX,
            snapshot_slice_bytes: SNAPSHOT_SLICE_BYTES,
        }
    }
}

/// Everything that the pipeline is told at start.
#[derive(Clone, Debug)]
pub struct PipelineSettings {
    /// `HOST:PORT`, several separated by commas.
    pub brokers: String,
    /// The consumer group; it begins every transactional id too.
    pub group: String,
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// This process's name among those of the group; none: the remembered one, else the host's.
    pub instance: Option<String>,
    /// How many workers (threads).
    pub workers: usize,
    /// Memory for block caches of all stores of the process.
    pub cache_bytes: usize,
    /// Memory for memtables of all stores of the process.
    pub write_buffer_bytes: usize,
    /// How long a transaction collects before it commits.
    pub commit_interval: Duration,
    /// The topics' names.
    pub topics: Topics,
    /// librdkafka properties, which go before lethe's own choices where both set one.
    pub kafka: BTreeMap<String, String>,
    /// Dead letters carry the input's value.
    pub dead_letter_values: bool,
    /// Where a group without a position begins.
    pub beginning: Beginning,
    /// The operator states that this is the group's only process: brokers without fencing will do.
    pub single_process: bool,
    /// The broker is an embedded one (`rdkafka::mocking`), which cannot do all that a real one can.
    pub embedded_broker: bool,
    /// Bytes of deltas beyond half of the last snapshot that bring a further one.
    pub changelog_slack_bytes: u64,
    /// How many instances follow each partition beside its owner.
    pub standbys: usize,
    /// How long state is kept of a partition that has moved away and is not followed.
    pub state_kept: Duration,
    /// How much is taken at once.
    pub portions: Portions,
    /// The operator states that the control topic with this id is the same as the one before it.
    pub control_id: Option<String>,
    /// So many tenants have series of their own.
    pub tenants_shown: usize,
    /// `max.message.bytes` of the output topics, by name.
    pub record_bytes_max: BTreeMap<String, usize>,
}

impl PipelineSettings {
    /// The largest record that the topic of a role takes.
    #[must_use]
    pub fn record_bytes_max(&self, role: Role) -> usize {
        let name = self.topics.name(role);
        self.record_bytes_max.get(&name).copied().unwrap_or(RECORD_BYTES_MAX_DEFAULT)
    }
}
