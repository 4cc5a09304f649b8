//! Reading the outputs of a partition: each record in place, and nothing of its content is kept.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use lethe_engine::ledger::key::push_part;
use lethe_engine::ledger::{Entry, State};
use lethe_engine::{Class, Event, Ledger as _, MessageAction, Storage, VersionAction};
use lethe_state::Store;

use super::scratch::{Fact, Place, RESERVED};
use super::{Failed, Found};
use crate::codec::{self, TIME_MS_MAX, TimeLimits};
use crate::pipeline::kafka::{RdKafka, RdLog};
use crate::pipeline::outputs::{EXPIRES_AT, RETENTION};
use crate::pipeline::seam::{
    Bounds, Fault, HeadersOf, Kafka as _, LogId, LogPolled, LogReader as _, LogRecord, PartitionId,
    Reading, Role,
};
use crate::pipeline::settings::TRANSACTION_TIMEOUT;

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// How long nothing may come where more is known to be there.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether an open transaction has ended.
const OPEN_PAUSE: Duration = Duration::from_millis(200);
/// Rows that are kept in memory before they are written.
const ROWS_MAX: usize = 50_000;

/// The outputs of a partition while they are read.
pub(super) struct Outputs<'s> {
    class: Class,
    scratch: &'s mut Store,
    found: &'s mut Found,
    /// Since when the outputs have something of each tenant (Unix ms).
    seen: HashMap<String, i64>,
    pending: usize,
    key: Vec<u8>,
    value: Vec<u8>,
    before: Vec<u8>,
}

/// What is told of all that was read.
pub(super) struct Read {
    /// Since when the outputs have something of each tenant (Unix ms).
    pub(super) seen: HashMap<String, i64>,
}

/// The logs of a partition's outputs.
pub(super) fn logs(id: PartitionId) -> Vec<LogId> {
    let log = |storage| LogId { role: Role::Output(id.class, storage), partition: id.partition };
    match id.class {
        Class::Message | Class::Profile => vec![log(Storage::Stored), log(Storage::Transit)],
        // Config items are kept for every tenant.
        Class::Config => vec![log(Storage::Stored)],
    }
}

/// Waits until no transaction is open on these logs: the broker ends what a process that died left behind.
pub(super) fn stable(log: &mut RdLog, logs: &[LogId]) -> Result<Vec<Bounds>, Failed> {
    let started = Instant::now();
    loop {
        let (whole, stable) = (log.whole(logs)?, log.stable(logs)?);
        if whole == stable {
            return Ok(stable);
        }
        if started.elapsed() > 3 * TRANSACTION_TIMEOUT {
            return Err(Failed::Other(
                "a transaction stays open on the outputs: something still writes to them".into(),
            ));
        }
        thread::sleep(OPEN_PAUSE);
    }
}

/// Reads everything that the outputs of a partition hold; `tick` is told how many offsets were passed.
pub(super) fn read(
    kafka: &RdKafka,
    id: PartitionId,
    scratch: &mut Store,
    found: &mut Found,
    tick: &mut dyn FnMut(u64),
) -> Result<Read, Failed> {
    let mut log = kafka.log(Reading::ToTheEnd)?;
    let logs = logs(id);
    let bounds = stable(&mut log, &logs)?;
    let mut outputs = Outputs {
        class: id.class,
        scratch,
        found,
        seen: HashMap::new(),
        pending: 0,
        key: Vec::new(),
        value: Vec::new(),
        before: Vec::new(),
    };
    for (&output, bounds) in logs.iter().zip(bounds) {
        outputs.read_log(&mut log, output, bounds, tick)?;
    }
    outputs.scratch.commit(0)?;
    Ok(Read { seen: outputs.seen })
}

impl Outputs<'_> {
    /// Reads one log from its beginning to its end.
    fn read_log(
        &mut self,
        log: &mut RdLog,
        output: LogId,
        bounds: Bounds,
        tick: &mut dyn FnMut(u64),
    ) -> Result<(), Failed> {
        if bounds.start >= bounds.end {
            return Ok(());
        }
        let Role::Output(_, storage) = output.role else { return Ok(()) };
        log.open(output, bounds.start)?;
        let mut next = bounds.start;
        let mut heard = Instant::now();
        while next < bounds.end {
            let (mut taken, mut at) = (Ok(()), next);
            let polled = log.poll_output(POLL, &mut |record, headers| {
                at = record.offset + 1;
                taken = self.take(storage, &record, headers);
            })?;
            taken?;
            match polled {
                LogPolled::Record => heard = Instant::now(),
                // What lies behind the last record are markers.
                LogPolled::End(_) => at = bounds.end,
                LogPolled::OutOfRange(_) => {
                    return Err(Failed::Other("an output was truncated while it was read".into()));
                }
                LogPolled::Nothing if heard.elapsed() > SILENCE_MAX => {
                    return Err(Fault::Retry("an output is silent before its end".into()).into());
                }
                LogPolled::Nothing => {}
            }
            tick(u64::try_from(at - next).unwrap_or_default());
            next = at;
        }
        log.close(output);
        Ok(())
    }

    fn take(
        &mut self,
        storage: Storage,
        record: &LogRecord<'_>,
        headers: HeadersOf<'_>,
    ) -> Result<(), Failed> {
        let key = record.key.unwrap_or_default();
        if key.starts_with(RESERVED) {
            return Ok(());
        }
        let Some(place) = Place::read(self.class, storage, key) else {
            self.found.foreign += 1;
            return Ok(());
        };
        self.found.last_ms = self.found.last_ms.max(record.timestamp_ms);
        let tenant = place.key.split('/').next().unwrap_or_default();
        match self.seen.get_mut(tenant) {
            Some(since_ms) => *since_ms = (*since_ms).min(record.timestamp_ms),
            None => drop(self.seen.insert(tenant.to_owned(), record.timestamp_ms)),
        }
        place.write(&mut self.key);
        let fact = match record.value {
            None => Some(Fact::Null(record.timestamp_ms)),
            Some(value) => {
                let known = self.scratch.get(&self.key, &mut self.before)?;
                let before = known.then(|| Fact::read(&self.before)).transpose()?;
                content(self.class, &place, value, before, headers)
            }
        };
        let Some(fact) = fact else {
            self.found.foreign += 1;
            return Ok(());
        };
        fact.write(&mut self.value);
        self.scratch.put(&self.key, &self.value);
        self.pending += 1;
        if self.pending >= ROWS_MAX {
            self.pending = 0;
            self.scratch.commit(0)?;
        }
        Ok(())
    }
}

/// What a content says; none: it is none of lethe's.
fn content<'v>(
    class: Class,
    place: &Place<'_>,
    value: &'v [u8],
    before: Option<Fact<'v>>,
    headers: HeadersOf<'_>,
) -> Option<Fact<'v>> {
    // Whatever the clocks show: it was taken when it came.
    let event = codec::decode(class, value, TimeLimits { latest_ms: TIME_MS_MAX }).ok()?;
    let mut key = String::new();
    match event {
        Event::Message(event) => {
            for (number, part) in
                [event.tenant, event.conversation, event.message].into_iter().enumerate()
            {
                if number > 0 {
                    key.push('/');
                }
                push_part(&mut key, part);
            }
            let (sent, edited_at_ms) = match event.action {
                MessageAction::Sent(sent) => (Some(sent), None),
                MessageAction::Edited { edited_at_ms, sent } => (sent, Some(edited_at_ms)),
                MessageAction::Delivered(_) | MessageAction::Read(_) | MessageAction::Recalled => {
                    return None;
                }
            };
            let entry = Entry::bare(State::Live, place.storage);
            let (told, mut entry) = match (sent, before) {
                (Some(sent), _) => (true, entry.with_sent(&sent)),
                (None, Some(Fact::Message { told, entry, .. })) => (told, entry),
                (None, Some(Fact::Null(_) | Fact::Version(_)) | None) => {
                    let ttl_ms = ttl_ms(event.sent_at_ms, headers);
                    (false, Entry { ttl_ms, ..entry })
                }
            };
            entry.edited_at_ms = edited_at_ms;
            let sent_at_ms = event.sent_at_ms;
            (key == place.key).then_some(Fact::Message { sent_at_ms, told, entry })
        }
        Event::Profile(event) | Event::Config(event) => {
            push_part(&mut key, event.tenant);
            key.push('/');
            push_part(&mut key, event.id);
            let is_content = event.action == VersionAction::Set && key == place.key;
            is_content.then_some(Fact::Version(event.updated_at_ms))
        }
    }
}

/// The time to live of a message whose `Sent` is gone, as its tags tell it: they end it before its retention does;
/// 0: they tell of none.
fn ttl_ms(sent_at_ms: i64, headers: HeadersOf<'_>) -> i64 {
    let (mut expires_at_ms, mut retention_ms) = (None, None);
    headers(&mut |name, value| {
        let number = || std::str::from_utf8(value?).ok()?.parse::<i64>().ok();
        if name == EXPIRES_AT {
            expires_at_ms = number();
        } else if name == RETENTION {
            // `forever` is no number.
            retention_ms = number();
        }
    });
    let Some(expires_at_ms) = expires_at_ms else { return 0 };
    let lives_ms = expires_at_ms.saturating_sub(sent_at_ms);
    if retention_ms.is_none_or(|retention_ms| lives_ms < retention_ms) {
        lives_ms.max(1)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ttl(tags: &[(&[u8], &[u8])]) -> i64 {
        ttl_ms(1_000, &|visit| tags.iter().for_each(|(name, value)| visit(name, Some(value))))
    }

    #[test]
    fn tags_tell_of_a_time_to_live_where_it_is_shorter_than_the_retention() {
        assert_eq!(ttl(&[]), 0);
        assert_eq!(ttl(&[(RETENTION, b"5000"), (EXPIRES_AT, b"6000")]), 0);
        assert_eq!(ttl(&[(RETENTION, b"5000"), (EXPIRES_AT, b"3000")]), 2_000);
        // A minimum keeps it for longer than its retention.
        assert_eq!(ttl(&[(RETENTION, b"5000"), (EXPIRES_AT, b"9000")]), 0);
        assert_eq!(ttl(&[(RETENTION, b"forever"), (EXPIRES_AT, b"9000")]), 8_000);
        assert_eq!(ttl(&[(RETENTION, b"forever")]), 0);
    }
}
