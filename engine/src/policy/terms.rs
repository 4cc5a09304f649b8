//! What the operator agreed with a tenant, and what the law asks: `terms/<tenant>`.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::Deserialize;

use super::duration::{
    DAY_MS, Retention, TIME_MAX_MS, parse_duration, parse_retention, parse_time,
};
use super::record::{Common, Refused};

/// Configuration is kept so many calendar months (UTC) after the end of the tenant's use.
pub const MONTHS_AFTER_END: i32 = 2;

/// A tenant's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long undelivered content may be in transit.
    pub transit_limit_ms: i64,
    /// How long a law demands that stored content is kept.
    pub minimum_ms: i64,
    /// The longest retention that the tenant may choose.
    pub maximum: Retention,
    /// When its use ended (Unix ms), if it did.
    pub ended_at_ms: Option<i64>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            transit_limit_ms: DAY_MS,
            minimum_ms: 0,
            maximum: Retention::Ms(3_650 * DAY_MS),
            ended_at_ms: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TermsBody {
    transit_limit: Option<String>,
    minimum: Option<String>,
    maximum: Option<String>,
    ended_at: Option<String>,
    effective_at: Option<String>,
}

impl Terms {
    pub(super) fn parse(body: &[u8]) -> Result<Common<Self>, Refused> {
        let body: TermsBody = super::record::json(body)?;
        let default = Self::default();
        let duration = |text: &Option<String>| text.as_deref().map(parse_duration).transpose();
        let terms = Self {
            transit_limit_ms: duration(&body.transit_limit)?.unwrap_or(default.transit_limit_ms),
            minimum_ms: duration(&body.minimum)?.unwrap_or(default.minimum_ms),
            maximum: body
                .maximum
                .as_deref()
                .map(parse_retention)
                .transpose()?
                .unwrap_or(default.maximum),
            ended_at_ms: body.ended_at.as_deref().map(parse_time).transpose()?,
        };
        if terms.transit_limit_ms == 0 {
            return Err("a transit limit of zero");
        }
        match terms.maximum {
            Retention::Ms(0) => return Err("a maximum of zero"),
            Retention::Ms(maximum_ms) if terms.minimum_ms > maximum_ms => {
                return Err("a minimum longer than the maximum");
            }
            Retention::Ms(_) | Retention::Forever => {}
        }
        Common::new(terms, body.effective_at.as_deref())
    }

    /// When everything of the tenant goes at the latest (Unix ms): two calendar months (UTC) after its
    /// use ended, on the last day of a month that is too short.
    #[must_use]
    pub fn end_ms(&self) -> Option<i64> {
        self.ended_at_ms.map(|ended_at_ms| {
            let ended = Timestamp::from_millisecond(ended_at_ms).ok();
            let end = ended.and_then(|time| {
                let zoned = time.to_zoned_datetime(TimeZone::UTC);
                zoned.checked_add(Span::new().months(MONTHS_AFTER_END)).ok()
            });
            end.map_or(TIME_MAX_MS, |end| end.timestamp().as_millisecond())
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn end(ended_at: &str) -> String {
        let terms = Terms { ended_at_ms: Some(parse_time(ended_at).unwrap()), ..Terms::default() };
        Timestamp::from_millisecond(terms.end_ms().unwrap()).unwrap().to_string()
    }

    #[test]
    fn two_calendar_months_after_the_end() {
        assert_eq!(end("2026-03-15T10:00:00Z"), "2026-05-15T10:00:00Z");
        assert_eq!(end("2026-12-31T23:59:59Z"), "2027-02-28T23:59:59Z");
        assert_eq!(end("2027-12-31T00:00:00Z"), "2028-02-29T00:00:00Z");
        assert_eq!(end("2026-12-31T23:00:00-02:00"), "2027-03-01T01:00:00Z", "in UTC");

        let late = Terms { ended_at_ms: Some(TIME_MAX_MS - 1), ..Terms::default() };
        assert_eq!(late.end_ms(), Some(TIME_MAX_MS), "not beyond time");
    }
}
