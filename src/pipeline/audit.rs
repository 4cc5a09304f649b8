//! The records of `lethe.audit`, and of the dead letters' headers.
//!
//! One JSON object a record: `{"type": …, "control_offset": …, …, "at_ms": …}`. The key is the
//! control record's key or the tenant. Types: `control-in-force`, `control-waiting` (with
//! `effective_at_ms`), `control-refused` (with `why`), `control-not-in-force`, `tenant-ended`, and
//! `erasure-done`: an erasure has been carried out in one partition, with its `class` and `partition`, how
//! many records it has `ended` there, how many have ended and wait (`held`, `minimum`), the `first_ms` and
//! `last_ms` of their sent times (null: there was none), and `in_force_at_ms`.

use lethe_engine::lifecycle::Audit;
use serde::Serialize;

use super::seam::PartitionId;
use crate::telemetry::reports::Reported;

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
    ControlNotInForce { control_offset: i64 },
    TenantEnded { control_offset: i64 },
    ErasureDone(ErasureDone),
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

impl Report {
    pub(super) fn new(id: PartitionId, what: Audit, at_ms: i64) -> Self {
        let what = match what {
            Audit::ControlInForce { offset } => What::ControlInForce { control_offset: offset },
            Audit::ControlWaiting { offset, effective_at_ms } => {
                What::ControlWaiting { control_offset: offset, effective_at_ms }
            }
            Audit::ControlRefused { offset, why } => {
                What::ControlRefused { control_offset: offset, why }
            }
            Audit::ControlNotInForce { offset } => {
                What::ControlNotInForce { control_offset: offset }
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

    /// The same for the status page. The id of a conversation is left out: it may name users.
    pub(super) fn told(&self, key: &str) -> Reported {
        let conversation = key.strip_prefix("conversation/").and_then(|rest| rest.split_once('/'));
        let about = match conversation {
            Some((tenant, _)) => format!("conversation/{tenant}/…"),
            None => key.to_owned(),
        };
        let what = match &self.what {
            What::ControlInForce { .. } => "in force".to_owned(),
            What::ControlWaiting { effective_at_ms, .. } => {
                let at = jiff::Timestamp::from_millisecond(*effective_at_ms);
                at.map_or_else(|_| "waits".to_owned(), |at| format!("waits until {at}"))
            }
            What::ControlRefused { why, .. } => format!("refused: {why}"),
            What::ControlNotInForce { .. } => "valid, but not acted on".to_owned(),
            What::TenantEnded { .. } => "the tenant's use has ended".to_owned(),
            What::ErasureDone(ErasureDone { class, partition, ended, held, minimum, .. }) => {
                let waiting = held + minimum;
                format!("carried out in {class} {partition}: {ended} ended, {waiting} wait")
            }
        };
        Reported { at_ms: self.at_ms, about, what }
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
    fn a_person_is_told_what_it_is_about_but_no_conversation() {
        let id = PartitionId { class: Class::Message, partition: 3 };
        let told = |key: &str, what| {
            let told = Report::new(id, what, 12).told(key);
            format!("{} {}: {}", told.at_ms, told.about, told.what)
        };
        let refused = Audit::ControlRefused { offset: 7, why: "retention" };
        assert_eq!(told("tenant/acme", refused), "12 tenant/acme: refused: retention");
        let waiting = Audit::ControlWaiting { offset: 7, effective_at_ms: 0 };
        assert_eq!(
            told("conversation/acme/ann%2Fbob", waiting),
            "12 conversation/acme/…: waits until 1970-01-01T00:00:00Z"
        );
        let counts = ErasureCounts { ended: 5, held: 1, minimum: 2, ..ErasureCounts::default() };
        assert_eq!(
            told("erasure/req-9", Audit::ErasureDone { offset: 7, at_ms: 9, counts }),
            "12 erasure/req-9: carried out in message 3: 5 ended, 3 wait"
        );
    }
}
