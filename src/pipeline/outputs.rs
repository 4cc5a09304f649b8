//! What a batch emits: contents, tombstones, reports and dead letters, as records.
//!
//! Invariant: content is passed on from the input record at hand and kept nowhere.

use std::collections::VecDeque;
use std::fmt::Write as _;

use lethe_engine::{Class, Effect, Effects, Mark, Reason, Storage, Tags};

use super::counters::Counts;
use super::seam::{Fault, Headers, InputRecord, Output, OutputRecord, PartitionId, Role};
use super::settings::PipelineSettings;
use super::tallies::Tallies;
use crate::audit::{self, Report};
use crate::telemetry::reports::{REPORTS_MAX, Reported, Reports};
use crate::telemetry::tenants::Tenants;

/// Headers that begin like this are lethe's own: an input cannot speak in its name.
const OWN: &[u8] = b"lethe-";
const STORAGE: &[u8] = b"lethe-storage";
pub(super) const RETENTION: &[u8] = b"lethe-retention";
pub(super) const EXPIRES_AT: &[u8] = b"lethe-expires-at";
const POLICY: &[u8] = b"lethe-policy";
const REASON: &[u8] = b"lethe-reason";
const ERROR: &[u8] = b"lethe-error";
pub(super) const SOURCE: &[u8] = b"lethe-source";
const REPLAY: &[u8] = b"lethe-replay";
const MARK: &[u8] = b"lethe-replay-marker";

/// Keys of a replay's markers begin like this; its id follows.
const MARKER_KEY: &str = "lethe:replay/";

/// The partition whose owner reports what every partition sees: each report once.
pub(super) const REPORTER: PartitionId = PartitionId { class: Class::Message, partition: 0 };

/// The producer, with what is counted of its records.
pub(super) struct Counted<'c, O> {
    pub(super) output: &'c mut O,
    pub(super) counts: &'c mut Counts,
}

impl<O: Output> Counted<'_, O> {
    fn send(&mut self, record: &OutputRecord<'_>) -> Result<(), Fault> {
        self.output.send(record)?;
        let bytes = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        self.counts.written(record.role, bytes(record.key) + bytes(record.value));
        Ok(())
    }
}

/// Writes records, in buffers that are used again.
pub(super) struct Writer {
    headers: Headers,
    text: String,
    /// Records of the batch so far.
    pub(super) written: usize,
    /// What the batch does for each tenant.
    pub(super) tenants: Tallies,
    /// The last of what it reports.
    reports: VecDeque<Reported>,
}

impl Writer {
    pub(super) fn new(tenants: Tallies) -> Self {
        Self {
            headers: Headers::default(),
            text: String::new(),
            written: 0,
            tenants,
            reports: VecDeque::new(),
        }
    }

    /// The batch has committed.
    pub(super) fn committed(&mut self, tenants: &Tenants, reports: &Reports) {
        self.written = 0;
        self.tenants.commit(tenants);
        reports.add(self.reports.drain(..));
    }

    /// Nothing of the batch is left.
    pub(super) fn forget(&mut self) {
        self.written = 0;
        self.tenants.forget();
        self.reports.clear();
    }

    /// Writes the effects of one call. `input` is the record at hand, whose value `Content` stands for;
    /// `replay` the id of a replay that emits it again.
    pub(super) fn effects<O: Output, R: InputRecord>(
        &mut self,
        output: &mut O,
        id: PartitionId,
        effects: &Effects,
        (input, replay): (Option<&R>, Option<&str>),
        now_ms: i64,
        counts: &mut Counts,
    ) -> Result<(), Fault> {
        counts.unmatched(effects.unmatched());
        let output = &mut Counted { output, counts };
        for effect in effects.iter() {
            match effect {
                Effect::Content { storage, key, tags } => {
                    let Some(input) = input else {
                        return Err(Fault::Stop("a content without its input record".to_owned()));
                    };
                    self.tags(storage, tags, input, replay);
                    self.content(output, id, storage, key, input)?;
                }
                Effect::Tombstone { storage, key, reason, policy } => {
                    output.counts.tombstone(reason);
                    self.tenants.tombstone(key);
                    self.tombstone(output, id, storage, key, reason, policy)?;
                }
                Effect::Audit { key, what } if id == REPORTER || what.is_of_partition() => {
                    self.audit(output, key, &Report::of_partition(id, what, now_ms))?;
                }
                // Every other partition sees the same control records.
                Effect::Audit { .. } => continue,
                Effect::Replayed { key, offset, row } => {
                    self.audit(output, key, &Report::of_replay(id, offset, row, now_ms))?;
                }
                Effect::Marker { storage, key, mark } => {
                    self.marker(output, id, storage, key, mark)?;
                }
            }
            self.written += 1;
        }
        Ok(())
    }

    /// Makes a content's headers: its own, and its tags.
    fn tags<R: InputRecord>(
        &mut self,
        storage: Storage,
        tags: Tags,
        input: &R,
        replay: Option<&str>,
    ) {
        self.headers.clear();
        let headers = &mut self.headers;
        input.headers(&mut |name, value| {
            if !name.starts_with(OWN) {
                headers.push(name, value);
            }
        });
        self.headers.push(STORAGE, Some(storage.tag().as_bytes()));
        match tags.retention_ms {
            Some(retention_ms) => self.number(RETENTION, retention_ms),
            None => self.headers.push(RETENTION, Some(b"forever")),
        }
        if let Some(expires_at_ms) = tags.expires_at_ms {
            self.number(EXPIRES_AT, expires_at_ms);
        }
        self.policy(tags.policy);
        if let Some(replay) = replay {
            self.headers.push(REPLAY, Some(replay.as_bytes()));
        }
    }

    fn content<O: Output, R: InputRecord>(
        &mut self,
        output: &mut Counted<'_, O>,
        id: PartitionId,
        storage: Storage,
        key: &str,
        input: &R,
    ) -> Result<(), Fault> {
        output.send(&OutputRecord {
            role: Role::Output(id.class, storage),
            partition: id.partition,
            key: Some(key.as_bytes()),
            value: input.value(),
            headers: &self.headers,
        })
    }

    fn tombstone<O: Output>(
        &mut self,
        output: &mut Counted<'_, O>,
        id: PartitionId,
        storage: Storage,
        key: &str,
        reason: Reason,
        policy: Option<i64>,
    ) -> Result<(), Fault> {
        self.headers.clear();
        self.headers.push(REASON, Some(reason.name().as_bytes()));
        self.policy(policy);
        output.send(&OutputRecord {
            role: Role::Output(id.class, storage),
            partition: id.partition,
            key: Some(key.as_bytes()),
            value: None,
            headers: &self.headers,
        })
    }

    /// Writes a marker: a null value under a reserved key, so that a sink which does not know it deletes
    /// nothing that it has.
    fn marker<O: Output>(
        &mut self,
        output: &mut Counted<'_, O>,
        id: PartitionId,
        storage: Storage,
        key: &str,
        mark: Mark,
    ) -> Result<(), Fault> {
        self.headers.clear();
        let replay = key.strip_prefix(MARKER_KEY).unwrap_or(key);
        self.headers.push(REPLAY, Some(replay.as_bytes()));
        self.headers.push(MARK, Some(mark.name().as_bytes()));
        output.send(&OutputRecord {
            role: Role::Output(id.class, storage),
            partition: id.partition,
            key: Some(key.as_bytes()),
            value: None,
            headers: &self.headers,
        })
    }

    /// Writes a report about what a control key says.
    pub(super) fn audit<O: Output>(
        &mut self,
        output: &mut Counted<'_, O>,
        key: &str,
        report: &Report,
    ) -> Result<(), Fault> {
        self.headers.clear();
        let json =
            report.json().map_err(|error| Fault::Stop(format!("writing a report: {error}")))?;
        output.send(&OutputRecord {
            role: Role::Audit,
            partition: audit::PARTITION,
            key: Some(key.as_bytes()),
            value: Some(&json),
            headers: &self.headers,
        })?;
        if self.reports.len() >= REPORTS_MAX {
            self.reports.pop_front();
        }
        self.reports.push_back(report.told(key));
        Ok(())
    }

    /// Writes a dead letter: where the input is, and in one word why.
    pub(super) fn dead_letter<O: Output, R: InputRecord>(
        &mut self,
        output: &mut Counted<'_, O>,
        settings: &PipelineSettings,
        partitions: i32,
        input: &R,
        why: &str,
    ) -> Result<(), Fault> {
        let id = input.id();
        self.headers.clear();
        self.headers.push(ERROR, Some(why.as_bytes()));
        self.text.clear();
        let topic = settings.topics.input(id.class);
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{topic}/{}/{}", id.partition, input.offset());
        self.headers.push(SOURCE, Some(self.text.as_bytes()));
        let limit = settings.record_bytes_max(Role::DeadLetters);
        let fits = |part: Option<&[u8]>, rest: usize| {
            part.map_or(0, <[u8]>::len) + rest + super::settings::RECORD_OVERHEAD_BYTES <= limit
        };
        let key = input.key().filter(|&key| fits(Some(key), 0));
        let key_len = key.map_or(0, <[u8]>::len);
        let value = input
            .value()
            .filter(|&value| settings.dead_letter_values && fits(Some(value), key_len));
        self.written += 1;
        output.send(&OutputRecord {
            role: Role::DeadLetters,
            partition: id.partition % partitions.max(1),
            key,
            value,
            headers: &self.headers,
        })
    }

    /// Writes a part of a delta.
    pub(super) fn delta<O: Output>(
        &mut self,
        output: &mut Counted<'_, O>,
        id: PartitionId,
        key: &[u8],
        part: &[u8],
    ) -> Result<(), Fault> {
        self.headers.clear();
        output.send(&OutputRecord {
            role: Role::Changelog(id.class),
            partition: id.partition,
            key: Some(key),
            value: Some(part),
            headers: &self.headers,
        })
    }

    fn number(&mut self, name: &[u8], number: i64) {
        // Two or three a content: formatted without the machinery of `write!`.
        let mut text = itoa::Buffer::new();
        self.headers.push(name, Some(text.format(number).as_bytes()));
    }

    fn policy(&mut self, policy: Option<i64>) {
        match policy {
            Some(offset) => self.number(POLICY, offset),
            None => self.headers.push(POLICY, Some(b"default")),
        }
    }
}
