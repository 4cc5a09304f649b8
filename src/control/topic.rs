//! The control topic itself: read whole, and changed by compare-and-set.
//!
//! Kafka has no conditional write. All writers of lethe share one transactional id instead: the
//! last to initialise it fences the others, so between its reading of the topic and its commit no
//! other has written; whoever was fenced starts over. (Another client may still write past them:
//! the topic is any client's to write.)

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lethe_engine::ControlRecord;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::book::{Book, Entry};
use super::key::Kind;
use super::safety::{Caught, Counted, Guarded};
use super::value::time;
use super::{erasure, replay};
use crate::audit::{
    self, Author, ChangeConfirmed, ChangeMade, ChangeRefused, Pseudonyms, Refusal, Report, What,
};
use crate::pipeline::kafka::{self, RdKafka, RdLog, config};
use crate::pipeline::seam::{
    Bounds, Fault, Kafka as _, LogId, LogPolled, LogReader as _, Reading, Role,
};
use crate::pipeline::settings::{CALL_TIMEOUT, CLASSES, PipelineSettings};

/// How often a write that another writer has overtaken is begun anew.
const TRIES_MAX: usize = 10;
/// How long the topic may take to be read: some hundred thousand records.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// A writer that dies in the middle holds the topic's readers back no longer than this.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the control topic could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The record that was to be replaced is not the last one any more.
    #[error("{key} was changed meanwhile: expected {expected}, found {found}; look again")]
    Conflict {
        /// Its key.
        key: String,
        /// What the change was based on.
        expected: Expected,
        /// What is there.
        found: Expected,
    },
    /// The processor would refuse it.
    #[error("{key}: {why}")]
    Refused {
        /// Its key.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An erasure is to go while it could still be needed.
    #[error("{key} may not be withdrawn or narrowed: {}", needed(*until_ms))]
    Needed {
        /// Its key.
        key: String,
        /// Until when a late arrival could still be stored (Unix ms); none: without end.
        until_ms: Option<i64>,
    },
    /// A replay whose id is taken, or used up.
    #[error("{key}: {why}")]
    Used {
        /// Its key.
        key: String,
        /// By what.
        why: &'static str,
    },
    /// A replay that cannot be.
    #[error("{key}: {why}")]
    Unfit {
        /// Its key.
        key: String,
        /// What is not as it would have to be, and what is there.
        why: String,
    },
    /// The safety catch holds it.
    #[error(transparent)]
    Caught(#[from] Caught),
    /// Kafka cannot be reached, or does not allow it.
    #[error("{0}")]
    Kafka(String),
}

impl ControlError {
    /// The refusal that the audit reports; none: it is a failure.
    fn refusal(&self, author: Author) -> Option<ChangeRefused> {
        let (why, forecast) = match self {
            Self::Conflict { .. } | Self::Used { .. } => (Refusal::Conflict, None),
            Self::Refused { .. } | Self::Unfit { .. } => (Refusal::Invalid, None),
            Self::Needed { .. } => (Refusal::Needed, None),
            Self::Caught(caught) => (Refusal::SafetyCatch, Some(caught.tolls.clone())),
            Self::Kafka(_) => return None,
        };
        Some(ChangeRefused { author, why, forecast })
    }
}

impl From<Fault> for ControlError {
    fn from(fault: Fault) -> Self {
        Self::Kafka(fault.to_string())
    }
}

/// Which record a change replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// None: nothing is said under the key.
    Nothing,
    /// The one at this offset of the control topic.
    Offset(i64),
    /// Whichever is there.
    Anything,
}

impl Expected {
    /// The last record under a key.
    #[must_use]
    pub fn last(book: &Book, key: &str) -> Self {
        book.offset(key).map_or(Self::Nothing, Self::Offset)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Anything => f.write_str("any"),
        }
    }
}

/// A record to be written.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its key.
    pub key: String,
    /// What it says; none: what was said is withdrawn.
    pub value: Option<String>,
    /// What it replaces.
    pub expected: Expected,
}

/// The control topic.
pub struct ControlTopic {
    kafka: RdKafka,
    settings: Arc<PipelineSettings>,
    pseudonyms: Pseudonyms,
}

impl ControlTopic {
    /// Reaches the cluster. The pseudonyms are for the audit.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn connect(
        settings: PipelineSettings,
        pseudonyms: Pseudonyms,
    ) -> Result<Self, ControlError> {
        let settings = Arc::new(settings);
        let connected = RdKafka::connect(Arc::clone(&settings), "control".to_owned());
        let kafka = connected.map_err(|fault| {
            ControlError::Kafka(format!("the brokers {}: {fault}", settings.brokers))
        })?;
        Ok(Self { kafka, settings, pseudonyms })
    }

    /// The input topics and how many partitions each has: a change is in force once all have it.
    ///
    /// # Errors
    /// One is not there.
    pub fn inputs(&self) -> Result<BTreeMap<String, i32>, ControlError> {
        let count = |class| {
            let count = self.kafka.partitions(Role::Input(class))?;
            Ok((self.settings.topics.input(class).to_owned(), count))
        };
        CLASSES.into_iter().map(count).collect()
    }

    /// Everything that it says at the moment.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, now_ms: i64) -> Result<Book, ControlError> {
        let mut log = self.kafka.log(Reading::ToTheEnd)?;
        let control = LogId { role: Role::Control, partition: 0 };
        let bounds = log.stable(&[control])?;
        let mut book = Book::default();
        let start = bounds.first().filter(|bounds| bounds.start < bounds.end);
        if let Some(&Bounds { start, .. }) = start {
            log.open(control, start)?;
            let started = Instant::now();
            while !self.read_on(&mut log, &mut book)? {
                if started.elapsed() > READ_WITHIN {
                    return Err(self.failed("its end was not reached in time"));
                }
            }
        }
        book.settle(now_ms);
        Ok(book)
    }

    fn read_on(&self, log: &mut RdLog, book: &mut Book) -> Result<bool, ControlError> {
        let polled = log.poll(POLL, &mut |record| {
            let key = record.key.unwrap_or_default();
            let (offset, at_ms) = (record.offset, record.timestamp_ms);
            book.add(&ControlRecord::parse(offset, at_ms, key, record.value));
        })?;
        match polled {
            LogPolled::End(_) => Ok(true),
            LogPolled::Record | LogPolled::Nothing => Ok(false),
            LogPolled::OutOfRange(_) => Err(self.failed("it was truncated meanwhile")),
        }
    }

    /// Writes all of the changes or none, and reports who has made them in the same transaction. Returns the
    /// records' offsets.
    ///
    /// # Errors
    /// One is refused, or replaces what is not there any more; or Kafka fails.
    pub fn write(
        &self,
        guarded: &Guarded,
        author: &Author,
        now_ms: i64,
    ) -> Result<Vec<i64>, ControlError> {
        for change in &guarded.changes {
            check(change, now_ms)?;
        }
        for _ in 0..TRIES_MAX {
            if let Some(offsets) = self.try_write(guarded, author, now_ms)? {
                return Ok(offsets);
            }
        }
        Err(self.failed("other writers were faster each time"))
    }

    /// A change as it is to be written: the range of a replay becomes offsets.
    ///
    /// # Errors
    /// It is of a replay that cannot be, or whose id is used.
    pub fn settled(
        &self,
        change: &Change,
        book: &Book,
        now_ms: i64,
    ) -> Result<Change, ControlError> {
        if Kind::of(&change.key) != Some(Kind::Replay) {
            return Ok(change.clone());
        }
        check(change, now_ms)?;
        let mut source = self.kafka.source()?;
        let partitions = |class| self.kafka.partitions(Role::Input(class));
        replay::settled(&mut source, partitions, &self.settings.topics, change, book, now_ms)
    }

    /// None: another writer was faster.
    fn try_write(
        &self,
        guarded: &Guarded,
        author: &Author,
        now_ms: i64,
    ) -> Result<Option<Vec<i64>>, ControlError> {
        // Of the topic, not of a group: whoever writes to it does not need to know the groups.
        let transactional_id = format!("{}-writer", self.settings.topics.control);
        let mut config = config::output(&self.settings, &transactional_id);
        config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string());
        let producer: BaseProducer<Offsets> =
            config.create_with_context(Offsets::default()).map_err(|error| self.failed(error))?;
        producer.init_transactions(CALL_TIMEOUT).map_err(|error| self.failed(error))?;
        let book = self.read(now_ms)?;
        for change in &guarded.changes {
            allowed(change, &book, now_ms)?;
        }
        match self.commit(&producer, guarded, &book, author, now_ms) {
            Ok(offsets) => Ok(Some(offsets)),
            Err(error) if overtaken(&error) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn commit(
        &self,
        producer: &BaseProducer<Offsets>,
        guarded: &Guarded,
        book: &Book,
        author: &Author,
        now_ms: i64,
    ) -> Result<Vec<i64>, KafkaError> {
        producer.begin_transaction()?;
        for (number, change) in guarded.changes.iter().enumerate() {
            let mut record: BaseRecord<'_, str, str, usize> =
                BaseRecord::with_opaque_to(&self.settings.topics.control, number).partition(0);
            record.key = Some(&change.key);
            record.payload = change.value.as_deref();
            producer.send(record).map_err(|(error, _)| error)?;
        }
        kafka::flush(producer, CALL_TIMEOUT)?;
        let offsets = producer.context().take();
        for (change, &offset) in guarded.changes.iter().zip(&offsets) {
            for what in self.reports(change, offset, guarded, book, author) {
                self.send_report(producer, &change.key, &Report::new(what, now_ms))?;
            }
        }
        kafka::flush(producer, CALL_TIMEOUT)?;
        producer.commit_transaction(CALL_TIMEOUT)?;
        Ok(offsets)
    }

    /// What is said of a change that is made.
    fn reports(
        &self,
        change: &Change,
        offset: i64,
        guarded: &Guarded,
        book: &Book,
        author: &Author,
    ) -> Vec<What> {
        let value = change.value.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let mut reports = vec![What::ChangeMade(ChangeMade {
            author: author.clone(),
            control_offset: offset,
            replaces: book.offset(&change.key),
            value: value.map(|value| self.pseudonyms.shown(value)),
        })];
        if let Some(counted) = &guarded.confirmed {
            reports.push(What::ChangeConfirmed(ChangeConfirmed {
                author: author.clone(),
                control_offset: offset,
                effective_at_ms: guarded.effective_at_ms,
                forecast: match counted {
                    Counted::Tolls(tolls) => Some(tolls.clone()),
                    Counted::Unknown(_) => None,
                },
            }));
        }
        reports
    }

    /// Reports that changes were refused. That the report cannot be written is logged: the refusal stands.
    pub fn refused(&self, changes: &[Change], author: &Author, error: &ControlError, now_ms: i64) {
        let reported = || -> Result<(), KafkaError> {
            let producer: BaseProducer<Offsets> =
                config::producer(&self.settings).create_with_context(Offsets::default())?;
            for change in changes {
                let Some(refusal) = error.refusal(author.clone()) else { return Ok(()) };
                let report = Report::new(What::ChangeRefused(refusal), now_ms);
                self.send_report(&producer, &change.key, &report)?;
            }
            kafka::flush(&producer, CALL_TIMEOUT)
        };
        if let Err(error) = reported() {
            let topic = &self.settings.topics.audit;
            tracing::error!(topic, %error, "a refusal could not be reported");
        }
    }

    fn send_report(
        &self,
        producer: &BaseProducer<Offsets>,
        key: &str,
        report: &Report,
    ) -> Result<(), KafkaError> {
        let json = report.json().map_err(|_| KafkaError::Canceled)?;
        let record: BaseRecord<'_, str, [u8], usize> =
            BaseRecord::with_opaque_to(&self.settings.topics.audit, NO_CHANGE)
                .partition(audit::PARTITION)
                .key(key)
                .payload(&json);
        producer.send(record).map_err(|(error, _)| error)
    }

    fn failed(&self, why: impl fmt::Display) -> ControlError {
        ControlError::Kafka(format!("the control topic {}: {why}", self.settings.topics.control))
    }
}

/// Whether the processor would take it.
///
/// # Errors
/// It would not.
pub fn check(change: &Change, now_ms: i64) -> Result<(), ControlError> {
    let value = change.value.as_deref().map(str::as_bytes);
    let record = ControlRecord::parse(0, now_ms, change.key.as_bytes(), value);
    match record.refusal() {
        None => Ok(()),
        Some(why) => Err(ControlError::Refused { key: change.key.clone(), why }),
    }
}

/// Whether it may replace what is there.
///
/// # Errors
/// Something else is there than was expected, or what is there is still needed.
pub fn allowed(change: &Change, book: &Book, now_ms: i64) -> Result<(), ControlError> {
    expect(change, book)?;
    erasure::may_go(change, book, now_ms)
}

fn expect(change: &Change, book: &Book) -> Result<(), ControlError> {
    let found = Expected::last(book, &change.key);
    let nothing = book.get(&change.key).is_none_or(Entry::is_withdrawn);
    let is_as_expected = match change.expected {
        Expected::Anything => true,
        Expected::Nothing => nothing,
        Expected::Offset(_) => change.expected == found,
    };
    if is_as_expected {
        return Ok(());
    }
    Err(ControlError::Conflict { key: change.key.clone(), expected: change.expected, found })
}

fn needed(until_ms: Option<i64>) -> String {
    match until_ms {
        Some(until_ms) => {
            format!("until {} what it covers could still arrive late and be stored", time(until_ms))
        }
        None => {
            "what it covers could be stored without end; one that stands is bounded first, with \
                 a time"
                .to_owned()
        }
    }
}

/// Whether another writer has initialised the transactional id since.
fn overtaken(error: &KafkaError) -> bool {
    let code = if let KafkaError::Transaction(error) = error {
        Some(error.code())
    } else {
        error.rdkafka_error_code()
    };
    matches!(
        code,
        Some(
            RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
        )
    )
}

/// The number of a record that is no change.
const NO_CHANGE: usize = usize::MAX;

/// Collects where the records came to lie.
#[derive(Default)]
struct Offsets(Mutex<Vec<(usize, i64)>>);

impl Offsets {
    /// In the order of the changes.
    fn take(&self) -> Vec<i64> {
        let mut offsets =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        offsets.sort_unstable();
        offsets.into_iter().map(|(_, offset)| offset).collect()
    }
}

impl ClientContext for Offsets {}

impl ProducerContext for Offsets {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        // A record that failed fails the commit.
        if let Ok(message) = result
            && number != NO_CHANGE
        {
            let mut offsets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            offsets.push((number, message.offset()));
        }
    }
}
