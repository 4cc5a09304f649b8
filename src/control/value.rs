//! The values of control records, made of what was asked for on top of what is in force.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What is asked of one class of a tenant's data; what is not named stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ClassWish {
    /// `in` or `out`.
    pub storage: Option<String>,
    /// How long stored content is kept.
    pub retention: Option<String>,
    /// What was sent before is treated as opted out.
    pub since: Option<String>,
}

impl ClassWish {
    fn is_empty(&self) -> bool {
        self.storage.is_none() && self.retention.is_none() && self.since.is_none()
    }
}

/// A tenant's choice after a change. On its way in, a class gets a `since`: what was sent while it
/// was out stays out, also if the tenant's record is lost one day and written again.
#[must_use]
pub fn tenant(
    in_force: Option<&Value>,
    classes: &[(&str, ClassWish)],
    effective_at: Option<&str>,
    now_ms: i64,
) -> Value {
    let mut body = object(in_force);
    body.remove("effective_at");
    for (class, wish) in classes {
        if wish.is_empty() {
            continue;
        }
        let before = object(body.get(*class));
        let is_in = |class: &Map<String, Value>| class.get("storage") == Some(&json!("in"));
        let mut after = match wish.storage.as_deref() {
            Some("out") => Map::new(),
            Some(_) | None => before.clone(),
        };
        set(&mut after, "storage", wish.storage.as_deref());
        set(&mut after, "retention", wish.retention.as_deref());
        set(&mut after, "since", wish.since.as_deref());
        if is_in(&after) && !is_in(&before) && wish.since.is_none() {
            after.insert(
                "since".to_owned(),
                json!(effective_at.map_or(time(now_ms), str::to_owned)),
            );
        }
        body.insert((*class).to_owned(), Value::Object(after));
    }
    set(&mut body, "effective_at", effective_at);
    Value::Object(body)
}

/// A record with these fields set; an empty text takes a field out.
#[must_use]
pub fn with(in_force: Option<&Value>, fields: &[(&str, Option<&str>)]) -> Value {
    let mut body = object(in_force);
    // It belongs to the record that it came with.
    body.remove("effective_at");
    for (field, value) in fields {
        match value {
            Some("") => drop(body.remove(*field)),
            value => set(&mut body, field, *value),
        }
    }
    Value::Object(body)
}

/// A time as control records write it.
#[must_use]
pub fn time(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |time| time.to_string())
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

fn set(body: &mut Map<String, Value>, field: &str, value: Option<&str>) {
    if let Some(value) = value {
        body.insert(field.to_owned(), json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(storage: Option<&str>, retention: Option<&str>) -> [(&'static str, ClassWish); 1] {
        let wish = ClassWish {
            storage: storage.map(str::to_owned),
            retention: retention.map(str::to_owned),
            since: None,
        };
        [("message", wish)]
    }

    #[test]
    fn the_way_in_gets_a_since_and_staying_in_keeps_it() {
        let first = tenant(None, &message(Some("in"), Some("30d")), None, 1_000);
        let since = "1970-01-01T00:00:01Z";
        let expected = json!({"message": {"storage": "in", "retention": "30d", "since": since}});
        assert_eq!(first, expected);

        let longer = tenant(Some(&first), &message(None, Some("60d")), None, 9_000);
        let expected = json!({"message": {"storage": "in", "retention": "60d", "since": since}});
        assert_eq!(longer, expected);

        let out = tenant(Some(&longer), &message(Some("out"), None), None, 9_000);
        assert_eq!(out, json!({"message": {"storage": "out"}}));
        let again = tenant(Some(&out), &message(Some("in"), None), None, 10_000);
        assert_eq!(again, json!({"message": {"storage": "in", "since": "1970-01-01T00:00:10Z"}}));
    }

    #[test]
    fn a_change_that_waits_goes_in_when_it_comes_into_force() {
        let at = "2030-01-01T00:00:00Z";
        let waiting = tenant(None, &message(Some("in"), None), Some(at), 1_000);
        let expected = json!({"message": {"storage": "in", "since": at}, "effective_at": at});
        assert_eq!(waiting, expected);
        let other = tenant(Some(&waiting), &message(None, Some("1d")), None, 2_000);
        assert!(other.get("effective_at").is_none());
    }

    #[test]
    fn fields_are_set_and_taken_out() {
        let terms = json!({"minimum": "30d", "maximum": "90d"});
        let changed = with(Some(&terms), &[("maximum", Some("")), ("transit_limit", Some("2h"))]);
        assert_eq!(changed, json!({"minimum": "30d", "transit_limit": "2h"}));
    }
}
