//! The records of `lethe.audit`, and of the dead letters' headers.
//!
//! One JSON object a record: `{"type": …, "control_offset": …, …, "at_ms": …}`. The key is the
//! control record's key or the tenant. Types: `control-in-force`, `control-waiting` (with
//! `effective_at_ms`), `control-refused` (with `why`), `control-not-in-force`, `tenant-ended`.

use lethe_engine::lifecycle::Audit;
use serde::Serialize;

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
}

impl Report {
    pub(super) fn new(what: Audit, at_ms: i64) -> Self {
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
        };
        Self { what, at_ms }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn the_schema_is_what_the_documentation_says() {
        let report = Report::new(Audit::ControlRefused { offset: 7, why: "retention" }, 12);
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"type":"control-refused","control_offset":7,"why":"retention","at_ms":12}"#
        );
    }
}
