//! Durations and times as control records write them.

/// A duration or `forever`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// So many ms.
    Ms(i64),
    /// Without end.
    Forever,
}

impl Retention {
    /// The duration in ms; none: for ever.
    #[must_use]
    pub const fn ms(self) -> Option<i64> {
        match self {
            Self::Ms(ms) => Some(ms),
            Self::Forever => None,
        }
    }

    /// The opposite of [`Retention::ms`].
    #[must_use]
    pub const fn of_ms(ms: Option<i64>) -> Self {
        match ms {
            Some(ms) => Self::Ms(ms),
            None => Self::Forever,
        }
    }

    /// The shorter of the two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ms(a), Self::Ms(b)) => Self::Ms(a.min(b)),
            (Self::Ms(ms), Self::Forever) | (Self::Forever, Self::Ms(ms)) => Self::Ms(ms),
            (Self::Forever, Self::Forever) => Self::Forever,
        }
    }
}

/// A second.
pub const SECOND_MS: i64 = 1_000;
/// A day of 24 hours.
pub const DAY_MS: i64 = 24 * 60 * 60 * SECOND_MS;
/// The longest duration that a record may name: 10,000 years of 365 days; longer is `forever`.
pub const DURATION_MAX_MS: i64 = 3_650_000 * DAY_MS;
/// The last valid time: the end of the year 9999 (Unix ms).
pub const TIME_MAX_MS: i64 = 253_402_300_799_999;

/// Reads `90s`, `15m`, `36h`, `7d`, `500ms`.
pub(super) fn parse_duration(text: &str) -> Result<i64, &'static str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" => 60 * SECOND_MS,
        "h" => 60 * 60 * SECOND_MS,
        "d" => DAY_MS,
        _ => return Err("a duration is a whole number and one of ms, s, m, h, d"),
    };
    let number: i64 = number.parse().map_err(|_| "a duration is not a whole number that fits")?;
    match number.checked_mul(unit_ms) {
        Some(ms) if ms <= DURATION_MAX_MS => Ok(ms),
        _ => Err("a duration is longer than 3650000d; write forever"),
    }
}

/// Reads a duration or `forever`.
pub(super) fn parse_retention(text: &str) -> Result<Retention, &'static str> {
    if text == "forever" { Ok(Retention::Forever) } else { parse_duration(text).map(Retention::Ms) }
}

/// Reads an RFC 3339 time as Unix ms, within the years 1970 to 9999.
pub(super) fn parse_time(text: &str) -> Result<i64, &'static str> {
    let time: jiff::Timestamp = text.parse().map_err(|_| "a time is not RFC 3339")?;
    match time.as_millisecond() {
        ms @ 0..=TIME_MAX_MS => Ok(ms),
        _ => Err("a time is outside of the years 1970 to 9999"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90s"), Ok(90_000));
        assert_eq!(parse_duration("15m"), Ok(900_000));
        assert_eq!(parse_duration("36h"), Ok(129_600_000));
        assert_eq!(parse_duration("7d"), Ok(7 * DAY_MS));
        assert_eq!(parse_retention("forever"), Ok(Retention::Forever));
        for wrong in
            ["", "7", "d", "-1d", "+1d", "1.5h", "7 d", "1w", "1d2h", "99999999999999999999s"]
        {
            assert!(parse_retention(wrong).is_err(), "{wrong}");
        }
        assert!(parse_duration("3650001d").is_err(), "over the bound");
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("1970-01-01T00:00:01Z"), Ok(1_000));
        assert_eq!(parse_time("1970-01-01T08:00:00+08:00"), Ok(0));
        for wrong in ["1969-12-31T23:59:59Z", "yesterday", "2026-01-01", "2026-01-01T00:00:00"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
