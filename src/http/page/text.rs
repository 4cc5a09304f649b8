//! Numbers and times as a person reads them.

use jiff::Timestamp;

const MINUTE_S: f64 = 60.0;
const HOUR_S: f64 = 60.0 * MINUTE_S;
const DAY_S: f64 = 24.0 * HOUR_S;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// A count, in groups of three digits: `12,345`.
pub(super) fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 record`, `2 records`.
pub(super) fn of(number: f64, thing: &str) -> String {
    let plural = if number.round() == 1.0 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number))
}

/// A rate: with a decimal where that says something.
pub(super) fn rate(number: f64) -> String {
    if number > 0.0 && number < 9.95 { format!("{number:.1}") } else { count(number) }
}

/// A time span: `0.3 s`, `45 s`, `12 min`, `5 h`, `3 d`, in one piece.
pub(super) fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    match seconds {
        s if s < 9.95 => format!("{s:.1}\u{a0}s"),
        s if s < 2.0 * MINUTE_S => format!("{s:.0}\u{a0}s"),
        s if s < 2.0 * HOUR_S => format!("{:.0} min", s / MINUTE_S),
        s if s < 2.0 * DAY_S => format!("{:.0} h", s / HOUR_S),
        s => format!("{:.0} d", s / DAY_S),
    }
}

/// Bytes: `310 MiB`.
pub(super) fn bytes(number: f64) -> String {
    let (mut number, mut units) = (number.max(0.0), ["B", "KiB", "MiB", "GiB"].into_iter());
    let mut unit = units.next().unwrap_or_default();
    while number >= 1_024.0 {
        let Some(next) = units.next() else { break };
        (number, unit) = (number / 1_024.0, next);
    }
    if number < 9.95 && unit != "B" {
        format!("{number:.1}\u{a0}{unit}")
    } else {
        format!("{number:.0}\u{a0}{unit}")
    }
}

/// A mark of an axis: `0`, `0.5`, `250`, `1.5k`, `20M`.
pub(super) fn tick(number: f64) -> String {
    let (number, unit) = match number {
        n if n >= 1e6 => (n / 1e6, "M"),
        n if n >= 1e3 => (n / 1e3, "k"),
        n => (n, ""),
    };
    format!("{}{unit}", (number * 100.0).round() / 100.0)
}

/// A moment of this day by its time, another one with its date (UTC).
pub(super) fn moment(at_ms: i64, now_ms: i64) -> String {
    let same_day = at_ms.div_euclid(DAY_MS) == now_ms.div_euclid(DAY_MS);
    let format = if same_day { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    strftime(at_ms, format)
}

/// A moment as programs read it (RFC 3339).
pub(super) fn exact(at_ms: i64) -> String {
    strftime(at_ms, "%Y-%m-%dT%H:%M:%SZ")
}

fn strftime(at_ms: i64, format: &str) -> String {
    let at = Timestamp::from_millisecond(at_ms);
    at.map_or_else(|_| "unknown".to_owned(), |at| at.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: String) -> String {
        text.replace('\u{a0}', " ")
    }

    #[test]
    fn counts_have_groups_of_three_digits() {
        let texts: Vec<String> = [0.0, 7.0, 999.0, 1_000.0, 1_234_567.0].map(count).into();
        assert_eq!(texts, ["0", "7", "999", "1,000", "1,234,567"]);
        assert_eq!((of(1.0, "record"), of(0.0, "record")), ("1 record".into(), "0 records".into()));
    }

    #[test]
    fn a_rate_has_a_decimal_where_it_says_something() {
        assert_eq!([0.0, 0.44, 9.9, 9.96, 1_234.4].map(rate), ["0", "0.4", "9.9", "10", "1,234"]);
    }

    #[test]
    fn spans_and_bytes_have_their_unit() {
        let spans = [0.26, 9.96, 119.0, 600.0, 7_300.0, 300_000.0].map(span);
        assert_eq!(spans.map(plain), ["0.3 s", "10 s", "119 s", "10 min", "2 h", "3 d"]);
        assert_eq!(
            [12.0, 1_536.0, 3e9, 5e13].map(bytes).map(plain),
            ["12 B", "1.5 KiB", "2.8 GiB", "46566 GiB"]
        );
        assert_eq!([0.0, 0.5, 250.0, 1_500.0, 2e7].map(tick), ["0", "0.5", "250", "1.5k", "20M"]);
    }

    #[test]
    fn a_moment_of_another_day_has_its_date() {
        let noon_ms = 1_764_331_200_000;
        assert_eq!(moment(noon_ms, noon_ms + 1_000), "12:00:00");
        assert_eq!(moment(noon_ms, noon_ms + DAY_MS), "2025-11-28 12:00");
        assert_eq!(exact(noon_ms), "2025-11-28T12:00:00Z");
    }
}
