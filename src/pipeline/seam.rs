//! What the worker needs of Kafka, so that a simulation can stand in for it.
//!
//! Every call is one step: it returns within a bounded time and its outcome is a value. A broker
//! that cannot do something says so in its [`Capabilities`]; the worker has no second code path.
//!
//! Invariant: nothing outside of `kafka/` names rdkafka on the hot path.

use std::time::Duration;

use lethe_engine::{Class, Storage};

/// A partition of an input topic: the unit of ownership and of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// Which input topic.
    pub class: Class,
    /// The partition's number, the same on every topic that follows from the input.
    pub partition: i32,
}

/// What a topic is to lethe; its name is a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Events of one class.
    Input(Class),
    /// Contents and tombstones of one class and storage.
    Output(Class, Storage),
    /// Ledger deltas of one class.
    Changelog(Class),
    /// What tenants and operators said.
    Control,
    /// What lethe reports of control records.
    Audit,
    /// Input that could not be processed.
    DeadLetters,
}

/// What a broker can do. What it cannot is left out by the callers, never worked around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Its acknowledgements carry its own time (`LogAppendTime`). Without: the host's clock alone.
    pub broker_time: bool,
    /// It fences commits of members that have lost their place (2.5 and later).
    pub group_fencing: bool,
    /// It hides aborted records from `read_committed` readers and knows a last stable offset.
    pub isolation: bool,
    /// It can remove records from the front of a topic.
    pub delete_records: bool,
}

/// Why a call failed, by what the caller does about it. The text says where and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It may work later: wait and call again.
    #[error("{0}")]
    Retry(String),
    /// The transaction at hand must be aborted; the producer goes on.
    #[error("{0}")]
    Abort(String),
    /// The producer is no longer usable, and what became of its transaction is not known.
    #[error("{0}")]
    Unknown(String),
    /// It will never work: stop, and tell the operator what to do.
    #[error("{0}")]
    Stop(String),
}

/// What a log is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// To come to its end soon: the broker does not wait for more.
    ToTheEnd,
    /// To hear of every record that comes: the broker waits until there is one.
    Following,
}

/// Everything that a process asks of a Kafka cluster.
pub trait Kafka {
    /// A worker's consumer.
    type Input: Input;
    /// A worker's transactional producer.
    type Output: Output<Input = Self::Input>;
    /// A reader of one partition outside of the group.
    type Log: LogReader;
    /// A reader of a topic that is read again.
    type Source: Source;

    /// What the cluster can do.
    fn capabilities(&self) -> Capabilities;

    /// The cluster's id, where the broker tells it.
    fn cluster_id(&self) -> &str;

    /// How many partitions the topic of a role has now.
    fn partitions(&self, role: Role) -> Result<i32, Fault>;

    /// The id of a topic as of the start, where the broker tells it: a recreated topic has another
    /// one.
    fn topic_id(&self, role: Role) -> Option<String>;

    /// Asks for the records of a partition before an offset to be removed, and returns at once. It
    /// happens in its own time, wholly or not at all; what cannot be done is said by the
    /// implementation. Without [`Capabilities::delete_records`] it is not called.
    fn remove_before(&self, _role: Role, _partition: i32, _offset: i64) {}

    /// How many members another group has; none: the brokers do not tell.
    fn members(&self, _group: &str) -> Result<Option<usize>, Fault> {
        Ok(Some(0))
    }

    /// Whether the broker has refused to remove records when it was last asked.
    fn refuses_removals(&self) -> bool {
        false
    }

    /// Who is in the group and what each has, where the broker tells it and the group is at rest.
    fn roster(&self) -> Result<Option<Roster>, Fault> {
        Ok(None)
    }

    /// Joins the group as the worker's static member.
    fn input(&self, worker: usize) -> Result<Self::Input, Fault>;

    /// Makes the worker's producer; [`Output::init`] comes next.
    fn output(&self, worker: usize) -> Result<Self::Output, Fault>;

    /// Makes a reader.
    fn log(&self, reading: Reading) -> Result<Self::Log, Fault>;

    /// Makes a reader for replays.
    fn source(&self) -> Result<Self::Source, Fault>;
}

/// A group at rest, as its coordinator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Its members, in no order.
    pub members: Vec<Member>,
    /// What members have that are none of lethe's.
    pub elsewhere: Vec<PartitionId>,
}

/// A member of the group: a worker of some process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its process.
    pub instance: String,
    /// Its number there.
    pub worker: usize,
    /// What it has.
    pub partitions: Vec<PartitionId>,
}

impl Member {
    /// The name under which a worker is in the group.
    #[must_use]
    pub fn name(instance: &str, worker: usize) -> String {
        format!("{instance}-{worker}")
    }

    /// The process and the worker that a name belongs to; none: it is none of lethe's.
    #[must_use]
    pub fn of_name(name: &str) -> Option<(&str, usize)> {
        let (instance, worker) = name.rsplit_once('-')?;
        Some((instance, worker.parse().ok()?))
    }
}

/// What a poll of the input brought.
#[derive(Debug)]
pub enum Polled<R> {
    /// A record of an assigned, started partition.
    Record(R),
    /// The group gave these partitions to this worker. Answer with [`Input::assign`].
    Assigned(Vec<PartitionId>),
    /// The group takes these partitions away. Answer with [`Input::unassign`].
    Revoked {
        /// Which ones.
        partitions: Vec<PartitionId>,
        /// The group has given up on this member: nothing can be committed any more.
        lost: bool,
    },
    /// A started partition's position is outside of its log.
    OutOfRange,
    /// Nothing within the time.
    Nothing,
}

/// Is given a header's name and value.
pub type VisitHeader<'a> = &'a mut dyn FnMut(&[u8], Option<&[u8]>);

/// Gives a record's headers to a visitor.
pub type HeadersOf<'a> = &'a dyn Fn(VisitHeader<'_>);

/// An input record; its value is content.
pub trait InputRecord {
    /// Where it comes from.
    fn id(&self) -> PartitionId;
    /// Its offset.
    fn offset(&self) -> i64;
    /// When it was produced, or appended (Unix ms), where the record says it.
    fn timestamp_ms(&self) -> Option<i64>;
    /// Its key.
    fn key(&self) -> Option<&[u8]>;
    /// Its content.
    fn value(&self) -> Option<&[u8]>;
    /// Its headers, in order.
    fn headers(&self, visit: VisitHeader<'_>);
}

/// A committed position, with what was committed beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to process.
    pub offset: i64,
    /// The commit's metadata: see [`super::transaction`].
    pub metadata: String,
}

/// The records that a log holds: from the first to before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset still there.
    pub start: i64,
    /// One past the last one.
    pub end: i64,
}

/// Whether a commit by this member would be fenced rightly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It has a generation and a member id, and its assignment is not lost.
    Valid {
        /// Goes up with each rebalance. A member that was away for one comes back two or more later:
        /// its eviction was one, its return another.
        generation: i32,
    },
    /// It has none of them now: nothing may be committed.
    Invalid,
}

/// A worker's consumer: a static member of the group.
pub trait Input {
    /// A record, borrowed from the consumer.
    type Record<'a>: InputRecord
    where
        Self: 'a;

    /// Serves the group and brings at most one record.
    fn poll(&mut self, wait: Duration) -> Result<Polled<Self::Record<'_>>, Fault>;

    /// Accepts an assignment; its partitions stand still until they are started.
    fn assign(&mut self, partitions: &[PartitionId]) -> Result<(), Fault>;

    /// Lets partitions go.
    fn unassign(&mut self, partitions: &[PartitionId]) -> Result<(), Fault>;

    /// The stable committed positions, in order: ones that no open transaction can still change.
    fn committed(&mut self, ids: &[PartitionId]) -> Result<Vec<Option<Committed>>, Fault>;

    /// What the input's partition holds.
    fn bounds(&mut self, id: PartitionId) -> Result<Bounds, Fault>;

    /// Reads on from an offset; also goes back to one.
    fn start(&mut self, id: PartitionId, offset: i64) -> Result<(), Fault>;

    /// Stands still.
    fn pause(&mut self, id: PartitionId) -> Result<(), Fault>;

    /// To be asked right before each commit, which is of this generation or fails.
    fn membership(&mut self) -> Membership;

    /// Gives up the place in the group, so that it is not kept for a restart. What is still assigned
    /// comes back as revoked; [`Input::has_left`] tells when it is done.
    fn leave(&mut self);

    /// Whether nothing is left of the place in the group.
    fn has_left(&mut self) -> bool;

    /// Takes a place again after [`Input::leave`].
    fn join(&mut self) -> Result<(), Fault>;
}

/// A record to be produced.
#[derive(Debug)]
pub struct OutputRecord<'a> {
    /// To which topic.
    pub role: Role,
    /// To which partition.
    pub partition: i32,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a Headers,
}

/// Header names and values, in one buffer that is used again.
#[derive(Default)]
pub struct Headers {
    bytes: Vec<u8>,
    /// Where each name ends, and each value if there is one.
    ends: Vec<(usize, Option<usize>)>,
}

impl Headers {
    /// Empties the list, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends a header.
    pub fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.bytes.extend_from_slice(name);
        let name_end = self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.ends.push((name_end, value.map(|_| self.bytes.len())));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, value_end)| {
            let name = self.bytes.get(start..name_end).unwrap_or_default();
            let value = value_end.map(|end| self.bytes.get(name_end..end).unwrap_or_default());
            start = value_end.unwrap_or(name_end);
            (name, value)
        })
    }
}

/// A header can be the producer's content: its bytes are not shown.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Headers({})", self.ends.len())
    }
}

/// Where a changelog record came to lie, and the broker's time of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of which input partition.
    pub id: PartitionId,
    /// Its offset on the changelog.
    pub offset: i64,
    /// The broker's clock when it was written (Unix ms), where the topic carries it.
    pub broker_ms: Option<i64>,
}

/// The position of a partition, to be committed with a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Whose.
    pub id: PartitionId,
    /// The next offset to process.
    pub offset: i64,
    /// The commit's metadata.
    pub metadata: String,
}

/// A worker's transactional producer.
pub trait Output {
    /// The consumer whose positions it commits.
    type Input: Input;

    /// Aborts what an earlier producer of this worker left open, and fences it.
    fn init(&mut self) -> Result<(), Fault>;

    /// Begins a transaction.
    fn begin(&mut self) -> Result<(), Fault>;

    /// Adds a record to the transaction. It waits for room for a bounded time.
    fn send(&mut self, record: &OutputRecord<'_>) -> Result<(), Fault>;

    /// Adds the positions: the last thing before [`Output::commit`]. Aborts if the consumer has lost
    /// its place by now, or has it in another generation, which may be since it was asked: a broker
    /// does not fence positions that come without a generation.
    fn send_positions(&mut self, input: &Self::Input, positions: &[Position]) -> Result<(), Fault>;

    /// Commits, and says where the transaction's changelog records came to lie (in order).
    fn commit(&mut self, appended: &mut Vec<Appended>) -> Result<(), Fault>;

    /// Aborts. An error means that the producer must be replaced.
    fn abort(&mut self) -> Result<(), Fault>;

    /// Serves acknowledgements while nothing else is done.
    fn serve(&mut self);
}

/// A partition of a log that lethe wrote or reads for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// Which topic.
    pub role: Role,
    /// The partition's number.
    pub partition: i32,
}

/// A record of a log.
#[derive(Clone, Copy)]
pub struct LogRecord<'a> {
    /// Of which log.
    pub log: LogId,
    /// Its offset.
    pub offset: i64,
    /// When the broker, or else its producer, wrote it (Unix ms).
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// What a poll of the open logs brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogPolled {
    /// A record, which was given to the visitor.
    Record,
    /// The end of what is stable of a log now.
    End(LogId),
    /// The position is outside of the log.
    OutOfRange(LogId),
    /// Nothing within the time.
    Nothing,
}

/// Reads logs, several at a time, outside of the group, `read_committed`.
pub trait LogReader {
    /// Reads a log from an offset on, beside those that are open; one that is open goes there.
    fn open(&mut self, log: LogId, offset: i64) -> Result<(), Fault>;

    /// Reads nothing more of a log.
    fn close(&mut self, log: LogId);

    /// Brings at most one record, of any log that is open.
    fn poll(
        &mut self,
        wait: Duration,
        visit: &mut dyn FnMut(LogRecord<'_>),
    ) -> Result<LogPolled, Fault>;

    /// What is stable of each log: up to the last stable offset.
    fn stable(&mut self, logs: &[LogId]) -> Result<Vec<Bounds>, Fault>;

    /// Everything that each log holds: up to the high watermark, with what is still open.
    fn whole(&mut self, logs: &[LogId]) -> Result<Vec<Bounds>, Fault>;

    /// The offset of the first record of a log that is not older than a time (Unix ms), where the broker tells it; its
    /// stable end, where there is none.
    fn since(&mut self, _log: LogId, _at_ms: i64) -> Result<Option<i64>, Fault> {
        Ok(None)
    }

    /// The id of a topic at this moment, where the broker tells it.
    fn topic_id(&mut self, _role: Role) -> Result<Option<String>, Fault> {
        Ok(None)
    }
}

/// A partition of a topic that is read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceId {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

/// A topic that is read again, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTopic {
    /// How many partitions it has.
    pub partitions: i32,
    /// Its id, where the broker tells it.
    pub id: Option<String>,
}

/// What a poll of a source brought.
#[derive(Debug)]
pub enum Sourced<R> {
    /// A record.
    Record(R),
    /// Everything below this offset that is stable has come.
    End(i64),
    /// The position is outside of the partition.
    OutOfRange,
    /// Nothing within the time.
    Nothing,
}

/// Reads one partition of any topic at a time, outside of the group, `read_committed`.
pub trait Source {
    /// A record, borrowed from the reader.
    type Record<'a>: InputRecord
    where
        Self: 'a;

    /// What is known of a topic now; none: it is not there.
    fn topic(&mut self, name: &str) -> Result<Option<SourceTopic>, Fault>;

    /// What is stable of a partition.
    fn bounds(&mut self, id: &SourceId) -> Result<Bounds, Fault>;

    /// The offset of the first record of this time (Unix ms) or later; else the stable end.
    fn offset_at(&mut self, id: &SourceId, time_ms: i64) -> Result<i64, Fault>;

    /// Reads a partition from an offset on, and nothing else any more. Its records come as those of `of`.
    fn open(&mut self, id: &SourceId, offset: i64, of: PartitionId) -> Result<(), Fault>;

    /// Brings at most one record of the open partition.
    fn poll(&mut self, wait: Duration) -> Result<Sourced<Self::Record<'_>>, Fault>;
}

#[cfg(test)]
mod tests {
    use super::{Headers, Member};

    #[test]
    fn a_members_name_says_its_process_and_its_worker() {
        assert_eq!(Member::of_name(&Member::name("host-1.a", 12)), Some(("host-1.a", 12)));
        assert_eq!(Member::of_name("kcat"), None);
        assert_eq!(Member::of_name("some-consumer"), None);
    }

    #[test]
    fn headers_keep_their_order_and_absent_values() {
        let mut headers = Headers::default();
        headers.push(b"a", Some(b"1"));
        headers.push(b"b", None);
        headers.push(b"c", Some(b""));
        let all: Vec<_> = headers.iter().collect();
        let expected: Vec<(&[u8], Option<&[u8]>)> =
            vec![(b"a", Some(b"1")), (b"b", None), (b"c", Some(b""))];
        assert_eq!(all, expected);
    }
}
