//! The records of `lethe.audit`, and of the dead letters' headers.
//!
//! One JSON object a record: `{"type": …, "control_offset": …, …, "at_ms": …}`. The key is the
//! control record's key or the tenant. Types: `control-in-force`, `control-waiting` (with
//! `effective_at_ms`), `control-refused` (with `why`), `tenant-ended`, and:
//!
//! - `erasure-done`: an erasure has been carried out in one partition, with its `class` and `partition`, how
//!   many records it has `ended` there, how many have ended and wait (`held`, `minimum`), the `first_ms` and
//!   `last_ms` of their sent times (null: there was none), and `in_force_at_ms`.
//! - `replay-done`, `replay-cancelled`, `replay-refused` (with `why`): a replay has come to its end in one
//!   partition, with its `class` and `partition`, its range `from`, `to` and how far it came (`next`), in offsets
//!   of its source, `began_at_ms` (null: its range was never known), and `counts` by outcome (see
//!   docs/replay.md). `live` is the number of live records at the end of a dry run of mode `refresh`, else null.

use std::collections::BTreeMap;

use lethe_engine::ledger::{ReplayRow, ReplayStatus};
use lethe_engine::lifecycle::Audit;
use serde::Serialize;

use super::seam::PartitionId;

/// One report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    what: What,
    /// When it was decided, by the clock that ends things.
    at_ms: i64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum What {
    ControlInForce { control_offset: i64 },
    ControlWaiting { control_offset: i64, effective_at_ms: i64 },
    ControlRefused { control_offset: i64, why: &'static str },
    TenantEnded { control_offset: i64 },
    ErasureDone(ErasureDone),
    ReplayDone(Replayed),
    ReplayCancelled(Replayed),
    ReplayRefused(Replayed),
}

#[derive(Debug, Serialize)]
struct ErasureDone {
    control_offset: i64,
    class: &'static str,
    partition: i32,
    in_force_at_ms: i64,
    ended: u64,
    held: u64,
    minimum: u64,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Replayed {
    control_offset: i64,
    class: &'static str,
    partition: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    began_at_ms: Option<i64>,
    from: i64,
    to: i64,
    next: i64,
    counts: BTreeMap<&'static str, u64>,
    live: Option<u64>,
}

impl Report {
    /// Of a replay that has come to its end in a partition.
    pub(super) fn of_replay(id: PartitionId, offset: i64, row: &ReplayRow, at_ms: i64) -> Self {
        let replayed = |why: Option<&String>| Replayed {
            control_offset: offset,
            class: id.class.name(),
            partition: id.partition,
            why: why.cloned(),
            began_at_ms: row.began_at_ms,
            from: row.range.from,
            to: row.range.to,
            next: row.next,
            counts: row.counts.named().into_iter().collect(),
            live: row.live,
        };
        let what = match &row.status {
            ReplayStatus::Failed(why) => What::ReplayRefused(replayed(Some(why))),
            ReplayStatus::Cancelled => What::ReplayCancelled(replayed(None)),
            ReplayStatus::Waiting | ReplayStatus::Running | ReplayStatus::Done => {
                What::ReplayDone(replayed(None))
            }
        };
        Self { what, at_ms }
    }

    pub(super) fn new(id: PartitionId, what: Audit, at_ms: i64) -> Self {
        let what = match what {
            Audit::ControlInForce { offset } => What::ControlInForce { control_offset: offset },
            Audit::ControlWaiting { offset, effective_at_ms } => {
                What::ControlWaiting { control_offset: offset, effective_at_ms }
            }
            Audit::ControlRefused { offset, why } => {
                What::ControlRefused { control_offset: offset, why }
            }
            Audit::TenantEnded { offset } => What::TenantEnded { control_offset: offset },
            Audit::ErasureDone { offset, at_ms, counts } => What::ErasureDone(ErasureDone {
                control_offset: offset,
                class: id.class.name(),
                partition: id.partition,
                in_force_at_ms: at_ms,
                ended: counts.ended,
                held: counts.held,
                minimum: counts.minimum,
                first_ms: counts.first_ms,
                last_ms: counts.last_ms,
            }),
        };
        Self { what, at_ms }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use lethe_engine::Class;
    use lethe_engine::ledger::ErasureCounts;

    use super::*;

    #[test]
    fn the_schema_is_what_the_documentation_says() {
        let id = PartitionId { class: Class::Profile, partition: 3 };
        let json = |what| serde_json::to_string(&Report::new(id, what, 12)).unwrap();
        assert_eq!(
            json(Audit::ControlRefused { offset: 7, why: "retention" }),
            r#"{"type":"control-refused","control_offset":7,"why":"retention","at_ms":12}"#
        );
        let mut counts = ErasureCounts { ended: 5, held: 1, ..ErasureCounts::default() };
        counts.saw(2);
        let done = concat!(
            r#"{"type":"erasure-done","control_offset":7,"class":"profile","partition":3,"#,
            r#""in_force_at_ms":9,"ended":5,"held":1,"minimum":0,"first_ms":2,"last_ms":2,"at_ms":12}"#
        );
        assert_eq!(json(Audit::ErasureDone { offset: 7, at_ms: 9, counts }), done);
    }

    #[test]
    fn the_end_of_a_replay_says_what_it_did_and_why_it_did_not() {
        let id = PartitionId { class: Class::Message, partition: 1 };
        let mut row = ReplayRow::new("replay/1", b"{}", 5);
        row.status = ReplayStatus::Failed("it is not there".to_owned());
        row.counts.emitted = 3;
        let text =
            |row: &ReplayRow| serde_json::to_string(&Report::of_replay(id, 7, row, 12)).unwrap();
        let refused = text(&row);
        let begins = concat!(
            r#"{"type":"replay-refused","control_offset":7,"class":"message","partition":1,"#,
            r#""why":"it is not there","began_at_ms":null,"from":0,"to":0,"next":0,"counts":{"#,
        );
        assert!(refused.starts_with(begins), "{refused}");
        assert!(refused.contains(r#""emitted":3"#), "{refused}");
        row.status = ReplayStatus::Done;
        let done = text(&row);
        assert!(done.starts_with(r#"{"type":"replay-done""#) && !done.contains("why"), "{done}");
    }
}
