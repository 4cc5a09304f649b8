//! The safety catch: a change that would end much is confirmed first, and then waits where it can.
//!
//! Invariants: what cannot end anything is never held up; what could not be counted counts as much; a right
//! that must not wait (an erasure, an opt-out) can be confirmed at once.

use std::time::Duration;

use lethe_engine::ControlRecord;
use lethe_engine::policy::{Choice, Retention, Statement, TenantChoice, Terms};
use serde::Serialize;
use serde_json::Value;

use super::book::{Book, Version};
use super::key::Kind;
use super::topic::Change;
use super::value::time;

/// From where on a change is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// It would end more records than this at once.
    pub records: u64,
    /// It would end more of a tenant's records of a class than this share of them.
    pub share_percent: u64,
    /// The share does not count where it would end so few.
    pub few: u64,
    /// How long a confirmed change waits.
    pub grace: Duration,
}

/// What a change would end of a tenant's records of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Toll {
    /// Whose; `*`: of all.
    pub tenant: String,
    /// Of which class.
    pub class: String,
    /// Records that it would end.
    pub ends: u64,
    /// Of how many.
    pub of: u64,
}

/// What the forecast said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// This much would end.
    Tolls(Vec<Toll>),
    /// Why it could not be counted.
    Unknown(String),
}

/// Whether somebody has looked at what a change would end, and wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// Nobody.
    No,
    /// It may happen once the grace has passed.
    AfterGrace,
    /// It may happen at once.
    AtOnce,
}

/// A change that is held up until it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the safety catch: {why}")]
pub struct Caught {
    /// Why.
    pub why: String,
    /// What it would end, where that is known.
    pub tolls: Vec<Toll>,
}

/// Changes that may be written.
#[derive(Clone, Debug)]
pub struct Guarded {
    /// As they are to be written.
    pub changes: Vec<Change>,
    /// What was confirmed; none: the catch did not hold them up.
    pub confirmed: Option<Counted>,
    /// When those that wait come into force (Unix ms).
    pub effective_at_ms: Option<i64>,
}

impl Guarded {
    /// Changes that nothing holds up.
    #[must_use]
    pub const fn free(changes: Vec<Change>) -> Self {
        Self { changes, confirmed: None, effective_at_ms: None }
    }
}

/// Whether a change could end anything that would not have ended without it.
#[must_use]
pub fn may_end(change: &Change, book: &Book, now_ms: i64) -> bool {
    let said = |key: &str| {
        let version = book.get(key).and_then(|entry| entry.in_force.as_ref());
        version.and_then(|version| version.record(key).statement())
    };
    let before = said(&change.key);
    let value = change.value.as_deref().map(str::as_bytes);
    let after = ControlRecord::parse(0, now_ms, change.key.as_bytes(), value).statement();
    match (Kind::of(&change.key), before, after) {
        (Some(Kind::Erasure), _, after) => after.is_some(),
        // What a hold covers ends when it goes or covers less.
        (Some(Kind::Hold), before, after) => before.is_some() && before != after,
        (Some(Kind::Tenant), Some(Statement::Tenant(before)), after) => {
            let out = TenantChoice { message: Choice::Out, profile: Choice::Out };
            let after = if let Some(Statement::Tenant(after)) = after { after } else { out };
            cuts(before.message, after.message) || cuts(before.profile, after.profile)
        }
        // Nothing is stored of a tenant that has said nothing.
        (Some(Kind::Tenant), _, _) => false,
        (Some(Kind::Terms), before, after) => tightens(&terms(before), &terms(after)),
        (Some(Kind::Conversation), before, after) => {
            let tenant = change.key.split('/').nth(1).unwrap_or_default();
            let tenants = match said(&format!("{}{tenant}", Kind::Tenant.prefix())) {
                Some(Statement::Tenant(TenantChoice {
                    message: Choice::In { retention, .. },
                    ..
                })) => retention,
                // What was stored of it has ended already.
                _ => return false,
            };
            let own =
                |said| if let Some(Statement::Conversation(own)) = said { own } else { tenants };
            shorter(own(after), own(before))
        }
        // It ends by the rules of live events alone.
        (Some(Kind::Replay), _, _) => false,
        // It is not acted on.
        (None, _, _) => false,
    }
}

fn terms(said: Option<Statement>) -> Terms {
    if let Some(Statement::Terms(terms)) = said { terms } else { Terms::default() }
}

fn shorter(after: Retention, before: Retention) -> bool {
    after.min(before) != before
}

/// Whether a class loses what is stored of it.
fn cuts(before: Choice, after: Choice) -> bool {
    match (before, after) {
        (Choice::Out, _) => false,
        (Choice::In { .. }, Choice::Out) => true,
        (
            Choice::In { retention: before, since_ms: since },
            Choice::In { retention: after, since_ms: later },
        ) => {
            let moved = match (since, later) {
                (Some(since_ms), Some(later_ms)) => later_ms > since_ms,
                (None, None) => false,
                (Some(_), None) | (None, Some(_)) => true,
            };
            shorter(after, before) || moved
        }
    }
}

fn tightens(before: &Terms, after: &Terms) -> bool {
    let ends = match (before.ended_at_ms, after.ended_at_ms) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(before_ms), Some(after_ms)) => after_ms < before_ms,
    };
    ends || after.transit_limit_ms < before.transit_limit_ms
        || after.minimum_ms < before.minimum_ms
        || shorter(after.maximum, before.maximum)
}

impl Limits {
    /// Lets changes through as they are to be written, or says why not. `counted` is what those of them that
    /// [`may_end`] something would end; none: there is none of them.
    ///
    /// # Errors
    /// They have to be confirmed, or cannot be confirmed so.
    pub fn decide(
        &self,
        changes: Vec<Change>,
        counted: Option<Counted>,
        confirmed: Confirmed,
        book: &Book,
        now_ms: i64,
    ) -> Result<Guarded, Caught> {
        let Some(counted) = counted else { return Ok(Guarded::free(changes)) };
        let (why, tolls) = match &counted {
            Counted::Tolls(tolls) => match self.excess(tolls) {
                None => return Ok(Guarded::free(changes)),
                Some(why) => (why, tolls.clone()),
            },
            Counted::Unknown(why) => (format!("what it would end is not known: {why}"), Vec::new()),
        };
        if confirmed == Confirmed::No {
            let why = format!("{why}; look at the forecast, and confirm it if that is meant");
            return Err(Caught { why, tolls });
        }
        let grace_ms = i64::try_from(self.grace.as_millis()).unwrap_or(i64::MAX);
        let until_ms = now_ms.saturating_add(grace_ms);
        let mut effective_at_ms = None;
        let mut guarded = Vec::with_capacity(changes.len());
        for change in changes {
            if !may_end(&change, book, now_ms) {
                guarded.push(change);
                continue;
            }
            if confirmed == Confirmed::AtOnce && can_wait(&change) && !opts_out(&change, book) {
                let why = format!(
                    "{} may not happen at once: only an erasure and an opt-out may",
                    change.key
                );
                return Err(Caught { why, tolls });
            }
            if confirmed == Confirmed::AfterGrace && can_wait(&change) && grace_ms > 0 {
                effective_at_ms = Some(until_ms);
                guarded.push(wait(change, until_ms));
            } else {
                guarded.push(change);
            }
        }
        Ok(Guarded { changes: guarded, confirmed: Some(counted), effective_at_ms })
    }

    /// Why that is too much, if it is.
    fn excess(&self, tolls: &[Toll]) -> Option<String> {
        let all: u64 = tolls.iter().map(|toll| toll.ends).sum();
        if all > self.records {
            return Some(format!("it would end {all} records, more than {}", self.records));
        }
        let is_much = |toll: &&Toll| {
            let ends = u128::from(toll.ends) * 100;
            toll.ends > self.few && ends > u128::from(toll.of) * u128::from(self.share_percent)
        };
        tolls.iter().find(is_much).map(|Toll { tenant, class, ends, of }| {
            let share = self.share_percent;
            format!(
                "it would end {ends} of the {of} {class} records of {tenant}, more than {share} %"
            )
        })
    }
}

/// Whether the kind of a change has an `effective_at`, and it is not the withdrawal of what has no default.
fn can_wait(change: &Change) -> bool {
    match Kind::of(&change.key) {
        Some(Kind::Tenant | Kind::Terms) => true,
        Some(Kind::Conversation) => change.value.is_some(),
        Some(Kind::Hold | Kind::Erasure | Kind::Replay) | None => false,
    }
}

/// Whether a tenant goes out with a class.
fn opts_out(change: &Change, book: &Book) -> bool {
    let is_in = |version: Option<&Version>, class: &str| {
        let storage = version.and_then(|version| version.value.get(class)?.get("storage"));
        storage.and_then(Value::as_str) == Some("in")
    };
    let entry = book.get(&change.key);
    let before = entry.and_then(|entry| entry.in_force.as_ref());
    let after: Value = change
        .value
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let stays = |class: &str| after.pointer(&format!("/{class}/storage")).and_then(Value::as_str);
    Kind::of(&change.key) == Some(Kind::Tenant)
        && ["message", "profile"]
            .into_iter()
            .any(|class| is_in(before, class) && stays(class) != Some("in"))
}

/// The same change, in force at that time or later. To withdraw later is to say nothing later.
fn wait(change: Change, until_ms: i64) -> Change {
    let value = change.value.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let mut body = match value {
        Some(Value::Object(body)) => body,
        Some(_) | None => serde_json::Map::new(),
    };
    let said = body.get("effective_at").and_then(Value::as_str);
    let said_ms = said.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    if said_ms.is_none_or(|at| at.as_millisecond() < until_ms) {
        body.insert("effective_at".to_owned(), Value::String(time(until_ms)));
    }
    Change { value: Some(Value::Object(body).to_string()), ..change }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::super::topic::Expected;
    use super::*;

    const DAY_MS: i64 = 24 * 3_600_000;
    const IN: &str =
        r#"{"message": {"storage": "in", "retention": "30d", "since": "1970-01-02T00:00:00Z"}}"#;
    const LIMITS: Limits =
        Limits { records: 1_000, share_percent: 10, few: 5, grace: Duration::from_secs(86_400) };

    fn book(records: &[(&str, &str)]) -> Book {
        let mut book = Book::default();
        for (offset, (key, value)) in (0..).zip(records) {
            book.add(&ControlRecord::parse(offset, 0, key.as_bytes(), Some(value.as_bytes())));
        }
        book
    }

    fn change(key: &str, value: Option<&str>) -> Change {
        let value = value.map(str::to_owned);
        Change { key: key.to_owned(), value, expected: Expected::Anything }
    }

    #[test]
    fn what_cannot_end_anything_needs_no_forecast() {
        let there = book(&[
            ("tenant/a", IN),
            (
                "terms/a",
                r#"{"transit_limit": "12h", "minimum": "1d", "ended_at": "2030-01-01T00:00:00Z"}"#,
            ),
            ("conversation/a/own", r#"{"retention": "60d"}"#),
            ("hold/1", r#"{"tenant": "a"}"#),
            ("erasure/1", r#"{"tenant": "a"}"#),
        ]);
        let said = |value: &str| IN.replace("30d", value);
        let terms = |text: &str| format!("{{{text}}}");
        let full = r#""transit_limit": "12h", "minimum": "1d", "ended_at": "2030-01-01T00:00:00Z""#;
        let harmless = [
            ("tenant/new", Some(IN.to_owned())),
            ("tenant/new", None),
            ("tenant/a", Some(said("31d"))),
            ("tenant/a", Some(said("forever"))),
            ("tenant/a", Some(IN.replace("01-02", "01-01"))),
            ("terms/a", Some(terms(r#""transit_limit": "13h", "minimum": "2d""#))),
            ("terms/b", Some(terms(r#""minimum": "2d", "maximum": "forever""#))),
            ("conversation/a/own", Some(r#"{"retention": "61d"}"#.to_owned())),
            ("conversation/a/new", Some(r#"{"retention": "30d"}"#.to_owned())),
            ("conversation/b/new", Some(r#"{"retention": "1d"}"#.to_owned())),
            ("conversation/a/new", None),
            ("hold/2", Some(r#"{"tenant": "a"}"#.to_owned())),
            ("hold/1", Some(r#"{"tenant": "a", "reason": "why"}"#.to_owned())),
            ("erasure/1", None),
            ("replay/1", Some("{}".to_owned())),
        ];
        for (key, value) in harmless {
            assert!(!may_end(&change(key, value.as_deref()), &there, 0), "{key} {value:?}");
        }
        let harmful = [
            ("tenant/a", None),
            ("tenant/a", Some(said("29d"))),
            ("tenant/a", Some(IN.replace("01-02", "01-03"))),
            ("tenant/a", Some(r#"{"message": {"storage": "in", "retention": "30d"}}"#.to_owned())),
            ("terms/a", None),
            ("terms/a", Some(terms(&full.replace("12h", "11h")))),
            ("terms/a", Some(terms(&full.replace("1d", "0s")))),
            ("terms/a", Some(terms(&full.replace("2030", "2029")))),
            ("terms/b", Some(terms(r#""ended_at": "2030-01-01T00:00:00Z""#))),
            ("terms/b", Some(terms(r#""maximum": "1d""#))),
            ("conversation/a/own", None),
            ("conversation/a/own", Some(r#"{"retention": "59d"}"#.to_owned())),
            ("conversation/a/new", Some(r#"{"retention": "29d"}"#.to_owned())),
            ("hold/1", None),
            ("hold/1", Some(r#"{"tenant": "a", "user": "u"}"#.to_owned())),
            ("erasure/2", Some(r#"{"tenant": "a"}"#.to_owned())),
        ];
        for (key, value) in harmful {
            assert!(may_end(&change(key, value.as_deref()), &there, 0), "{key} {value:?}");
        }
    }

    fn tolls(ends: u64, of: u64) -> Option<Counted> {
        let (tenant, class) = ("a".to_owned(), "message".to_owned());
        Some(Counted::Tolls(vec![Toll { tenant, class, ends, of }]))
    }

    fn decide(
        change: Change,
        counted: Option<Counted>,
        confirmed: Confirmed,
    ) -> Result<Guarded, Caught> {
        let there = book(&[("tenant/a", IN), ("terms/a", r#"{"minimum": "1d"}"#)]);
        LIMITS.decide(vec![change], counted, confirmed, &there, 0)
    }

    #[test]
    fn much_is_more_than_a_number_or_than_a_share_that_is_not_few() {
        let cut = || change("tenant/a", Some(&IN.replace("30d", "1d")));
        let free =
            |ends, of| decide(cut(), tolls(ends, of), Confirmed::No).map_err(|caught| caught.why);
        for (ends, of) in [(0, 0), (5, 5), (10, 100), (1_000, 10_000)] {
            assert!(free(ends, of).unwrap().confirmed.is_none(), "{ends} of {of}");
        }
        let why = free(11, 100).unwrap_err();
        assert!(
            why.starts_with("it would end 11 of the 100 message records of a, more than 10 %"),
            "{why}"
        );
        assert!(free(1_001, 1_000_000).unwrap_err().starts_with("it would end 1001 records"));
        let unknown = Some(Counted::Unknown("nobody answers".to_owned()));
        let why = decide(cut(), unknown, Confirmed::No).unwrap_err().why;
        assert!(why.contains("not known: nobody answers"), "{why}");
        assert!(decide(cut(), None, Confirmed::No).is_ok(), "nothing to count");
    }

    /// What is written once it is confirmed, and when it comes into force.
    fn written(
        change: Change,
        confirmed: Confirmed,
    ) -> Result<(Option<String>, Option<i64>), String> {
        let guarded = decide(change, tolls(50, 100), confirmed).map_err(|caught| caught.why)?;
        assert!(guarded.confirmed.is_some());
        Ok((guarded.changes.first().unwrap().value.clone(), guarded.effective_at_ms))
    }

    #[test]
    fn what_is_confirmed_waits_and_a_right_need_not() {
        let shorter = IN.replace("30d", "1d");
        let cut = || change("tenant/a", Some(&shorter));
        let (value, at_ms) = written(cut(), Confirmed::AfterGrace).unwrap();
        assert_eq!(at_ms, Some(DAY_MS));
        let value: Value = serde_json::from_str(&value.unwrap()).unwrap();
        assert_eq!(value.get("effective_at").unwrap(), "1970-01-02T00:00:00Z");
        assert!(written(cut(), Confirmed::AtOnce).unwrap_err().contains("may not happen at once"));
        let later = shorter.replacen('{', r#"{"effective_at": "1970-01-05T00:00:00Z", "#, 1);
        let (value, _) = written(change("tenant/a", Some(&later)), Confirmed::AfterGrace).unwrap();
        assert!(value.unwrap().contains("1970-01-05"), "later than the grace, as it says itself");

        for out in [None, Some("{}")] {
            assert_eq!(
                written(change("tenant/a", out), Confirmed::AtOnce).unwrap(),
                (out.map(str::to_owned), None),
                "an opt-out"
            );
            let (value, at_ms) = written(change("tenant/a", out), Confirmed::AfterGrace).unwrap();
            assert_eq!(
                (value.as_deref(), at_ms),
                (Some(r#"{"effective_at":"1970-01-02T00:00:00Z"}"#), Some(DAY_MS))
            );
        }
        let erasure = r#"{"tenant": "a"}"#;
        for confirmed in [Confirmed::AfterGrace, Confirmed::AtOnce] {
            let erased = written(change("erasure/1", Some(erasure)), confirmed).unwrap();
            assert_eq!(erased, (Some(erasure.to_owned()), None));
        }
        assert!(written(change("terms/a", None), Confirmed::AtOnce).is_err(), "no right");
    }
}
