//! Durations, sizes and the rest, from text. Each error says what would have been right.

use std::time::Duration;

/// Largest duration: 100 years, so that no sum of times can overflow.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Longest topic name that Kafka takes.
const TOPIC_BYTES_MAX: usize = 249;

/// Splits `36h` into its number and its unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit_at)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A duration: `100ms`, `90s`, `15m`, `36h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "a duration such as 100ms, 90s, 15m, 36h or 7d".to_owned();
    let (number, unit) = split(text).ok_or_else(expected)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return Err(expected()),
    };
    let duration = number.checked_mul(unit_ms).map(Duration::from_millis);
    duration.filter(|&duration| duration <= DURATION_MAX).ok_or_else(expected)
}

/// A duration within bounds.
pub(super) fn duration_within(
    min: Duration,
    max: Duration,
) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| match duration(text)? {
        duration if (min..=max).contains(&duration) => Ok(duration),
        _ => Err(format!("a duration from {min:?} to {max:?}")),
    }
}

/// A size in bytes: `512MiB`, `64MB`, `1GiB`, `1048576`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let expected = || "a size such as 64MiB, 512MiB or 2GiB".to_owned();
    let (number, unit) = split(text).ok_or_else(expected)?;
    let unit_bytes: u64 = match unit {
        "" | "B" => 1,
        "kB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return Err(expected()),
    };
    let bytes = number.checked_mul(unit_bytes).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(expected)
}

/// A whole number within bounds.
pub(super) fn number_within(min: usize, max: usize) -> impl Fn(&str) -> Result<usize, String> {
    move |text| match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("a whole number from {min} to {max}")),
    }
}

/// `true` or `false`.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// `HOST:PORT`, several separated by commas.
pub(super) fn brokers(text: &str) -> Result<String, String> {
    let brokers: Vec<_> = text.split(',').map(str::trim).collect();
    for broker in &brokers {
        // librdkafka takes a protocol before the host, and 9092 where the port is left out.
        let host = broker.rsplit("://").next().unwrap_or_default();
        let port_fits = match host.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok(),
            Some(_) | None => true,
        };
        if host.is_empty() || host.contains(char::is_whitespace) || !port_fits {
            return Err("HOST:PORT, several separated by commas".to_owned());
        }
    }
    Ok(brokers.join(","))
}

/// `ADDRESS:PORT` to listen on.
pub(super) fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        Some(_) | None => Err("ADDRESS:PORT, such as 127.0.0.1:9644 or [::]:9644".to_owned()),
    }
}

/// `HOST:PORT` to reach, several separated by commas.
pub(super) fn addresses(text: &str) -> Result<Vec<String>, String> {
    let one = |text: &str| {
        let place = text.strip_prefix("https://").unwrap_or(text);
        let fits = address(place).is_ok() && !place.contains('/');
        let expected = "HOST:PORT or https://HOST:PORT, several separated by commas";
        if fits { Ok(text.to_owned()) } else { Err(expected.to_owned()) }
    };
    text.split(',').map(str::trim).map(one).collect()
}

/// A name that is part of ids on the broker and of file names.
pub(super) fn name(text: &str) -> Result<String, String> {
    if topic_fits(text, 100) {
        Ok(text.to_owned())
    } else {
        Err("1 to 100 letters, digits, '.', '_' or '-'".to_owned())
    }
}

/// The name of a topic.
pub(super) fn topic(text: &str) -> Result<String, String> {
    if topic_fits(text, TOPIC_BYTES_MAX) {
        Ok(text.to_owned())
    } else {
        Err(format!("a topic's name: 1 to {TOPIC_BYTES_MAX} letters, digits, '.', '_' or '-'"))
    }
}

fn topic_fits(text: &str, bytes_max: usize) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(legal) && text != "." && text != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(duration("36h"), Ok(Duration::from_secs(36 * 3600)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in ["", "7", "d", "-7d", "7 days", "1.5h", "99999999999999d", "36601d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("2 GiB"), Ok(2 << 30));
        assert_eq!(size("1000"), Ok(1000));
        for wrong in ["", "MiB", "-1", "1.5GiB", "12XB", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn broker_lists() {
        assert_eq!(brokers("a:1, b:2"), Ok("a:1,b:2".to_owned()));
        assert!(brokers("SASL_SSL://a:1").is_ok());
        assert!(brokers("[::1]:9092").is_ok());
        for wrong in ["", "a:1,", "a:x", "a b:1", "a:99999"] {
            assert!(brokers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_of_processes() {
        let two = vec!["a:1".to_owned(), "https://b:2".to_owned()];
        assert_eq!(addresses("a:1, https://b:2"), Ok(two));
        for wrong in ["", "a", "http://a:1", "https://a:1/v1", "a:1,"] {
            assert!(addresses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names() {
        assert!(name("eu-1.lethe_a").is_ok());
        for wrong in ["", ".", "..", "a/b", "a b", "ä"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
