//! Whether the control topic still is the one that a ledger was decided under (guarantee 7).

use lethe_engine::Engine;

use super::clock::{HostClock, Now};
use super::partition::LastDelta;
use super::provenance::differs;
use super::seam::{Fault, Kafka, LogReader, Role};
use super::settings::CONTROL_LAG_MS;
use super::worker::Worker;

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Whether the process has read the control topic as far as the ledger has applied it. A topic
    /// that does not reach so far, or begins later, is not the one that was applied.
    pub(super) fn control_fits(&mut self, applied: i64) -> Result<bool, Fault> {
        let control = &self.desk.control;
        let why = if control.start() > applied {
            format!("it begins at {}, but was applied to {applied}", control.start())
        } else if control.end().is_some_and(|end| end >= applied) {
            return Ok(true);
        } else {
            let bounds = self.log.whole(Role::Control, 0)?;
            if bounds.end >= applied {
                return Ok(false);
            }
            format!("it ends at {}, but was applied to {applied}", bounds.end)
        };
        self.distrust_control(&why);
        Ok(true)
    }

    /// Compares the control topic with the one that the ledger's last delta was decided under, and
    /// gives back whose offsets the partition's deltas carry from now on: as long as the topic is
    /// another one, the old one's.
    pub(super) fn control_id(&mut self, before: Option<&String>) -> Option<String> {
        let now = self.kafka.topic_id(Role::Control);
        if !differs(before, now.as_ref()) || self.desk.settings.control_id == now {
            return now.or_else(|| before.cloned());
        }
        if let (Some(before), Some(now)) = (before, &now) {
            self.distrust_control(&format!(
                "its id is {now}, but that of the topic that was applied is {before}. If it holds \
                 the same records at the same offsets, say so with topics.control_id = \"{now}\""
            ));
        }
        before.cloned()
    }

    fn distrust_control(&self, why: &str) {
        let topic = &self.desk.settings.topics.control;
        let why = format!("the control topic {topic} was recreated or truncated: {why}");
        if self.desk.control.broken(why.clone()) {
            tracing::error!(
                "{why}; every tombstone stands still until its records are back and lethe is \
                 restarted"
            );
            self.health.caution(Some(why));
        }
    }

    /// Whether the control topic has lost the order of what the ledger has not applied: compaction
    /// may thin out what is older than its lag.
    pub(super) fn control_gap(
        &self,
        engine: &Engine,
        last: Option<&LastDelta>,
        now: Now,
    ) -> Option<String> {
        let (last, end) = (last?, self.desk.control.end()?);
        let applied = engine.control_offset();
        let away_ms = now.wall_ms.saturating_sub(last.written_ms);
        if applied == 0 || away_ms <= CONTROL_LAG_MS || end <= applied {
            return None;
        }
        let there = self.desk.control.from(applied, usize::MAX).len();
        let missing = usize::try_from(end - applied).unwrap_or(usize::MAX) > there;
        missing.then(|| {
            format!(
                "it was away for {} days, and the control topic {} no longer holds in order what \
                     was said meanwhile ({there} of {} records). Remove its directory under the \
                     data directory and its changelog to begin anew",
                away_ms / (24 * 60 * 60 * 1000),
                self.desk.settings.topics.control,
                end - applied
            )
        })
    }
}
