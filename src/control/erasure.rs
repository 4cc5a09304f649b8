//! When an erasure may go: not while something that it covers could arrive late and be stored.
//!
//! Withdrawing would let that in, and so undo what was promised. Bounding one that stands, or letting one
//! reach further, is no withdrawal.

use lethe_engine::policy::{Erasure, InForce, Reach, Retention, Rules, Statement};
use lethe_engine::{Class, ControlRecord};

use super::book::{Book, Version};
use super::key::Kind;
use super::topic::{Change, ControlError};
use crate::pipeline::settings::CLASSES;

/// Refuses a change that takes away what an erasure still has to end.
///
/// # Errors
/// It is needed.
pub fn may_go(change: &Change, book: &Book, now_ms: i64) -> Result<(), ControlError> {
    if Kind::of(&change.key) != Some(Kind::Erasure) {
        return Ok(());
    }
    let Some(version) = book.get(&change.key).and_then(|entry| entry.in_force.as_ref()) else {
        return Ok(());
    };
    let Some(before) = in_force(&change.key, version) else { return Ok(()) };
    let after = change.value.as_deref().and_then(|value| {
        let body = Some(value.as_bytes());
        erasure(&ControlRecord::parse(i64::MAX, now_ms, change.key.as_bytes(), body))
    });
    if after.is_some_and(|after| reaches(&after, &before, now_ms)) {
        return Ok(());
    }
    match needed_until_ms(&before, book) {
        Some(until_ms) if until_ms <= now_ms => Ok(()),
        until_ms => Err(ControlError::Needed { key: change.key.clone(), until_ms }),
    }
}

fn erasure(record: &ControlRecord) -> Option<Erasure> {
    match record.statement()? {
        Statement::Erasure(erasure) => Some(erasure),
        Statement::Tenant(_)
        | Statement::Conversation(_)
        | Statement::Terms(_)
        | Statement::Hold(_)
        | Statement::Replay(_) => None,
    }
}

fn in_force(key: &str, version: &Version) -> Option<InForce> {
    let (offset, written_at_ms) = (version.offset, version.written_at_ms);
    let erasure = erasure(&version.record(key))?;
    Some(InForce::new(erasure, written_at_ms, version.in_force_at_ms, offset))
}

/// Whether an erasure ends all that another has to end; of one that stands, up to where it began.
fn reaches(after: &Erasure, before: &InForce, now_ms: i64) -> bool {
    let until_ms = match after.reach {
        Reach::Before(before_ms) => before_ms.unwrap_or(now_ms),
        Reach::Standing => now_ms,
    };
    after.scope == before.scope && until_ms >= before.before_ms
}

/// Until when something could still be stored: the longest of what is in force and what waits, of all
/// classes that it covers; none: without end.
fn needed_until_ms(erasure: &InForce, book: &Book) -> Option<i64> {
    let classes = CLASSES.into_iter().filter(|&class| erasure.scope.has(class));
    classes
        .map(|class| of_class(erasure, class, book))
        .try_fold(i64::MIN, |latest_ms, until_ms| until_ms.map(|until_ms| latest_ms.max(until_ms)))
}

fn of_class(erasure: &InForce, class: Class, book: &Book) -> Option<i64> {
    let tenant = erasure.scope.tenant.as_str();
    let choices = versions(book, &Kind::Tenant.key(&[tenant]));
    let terms = versions(book, &Kind::Terms.key(&[tenant]));
    let own = match class {
        Class::Message => conversations(book, tenant),
        Class::Profile | Class::Config => vec![None],
    };
    let mut latest_ms = i64::MIN;
    for choice in &choices {
        for terms in &terms {
            let mut rules = Rules::unknown(class);
            if let Some(Statement::Tenant(choice)) = choice {
                rules.choose(Some(choice), None);
            }
            if let Some(Statement::Terms(terms)) = terms {
                rules.terms = *terms;
            }
            for own in &own {
                latest_ms = latest_ms.max(erasure.needed_until_ms(&rules, *own)?);
            }
        }
    }
    Some(latest_ms)
}

/// What is in force under a key and what waits; none stands for the default.
fn versions(book: &Book, key: &str) -> Vec<Option<Statement>> {
    let entry = book.get(key);
    let in_force = entry.and_then(|entry| entry.in_force.as_ref());
    let waiting = entry.and_then(|entry| entry.waiting.as_ref());
    let mut all = vec![in_force.and_then(|version| version.record(key).statement())];
    all.extend(waiting.map(|version| version.record(key).statement()));
    all
}

/// The retentions of a tenant's conversations; none stands for the tenant's.
fn conversations(book: &Book, tenant: &str) -> Vec<Option<(Retention, i64)>> {
    let prefix = format!("{}/", Kind::Conversation.key(&[tenant]));
    let mut all = vec![None];
    for entry in book.beginning(&prefix) {
        for version in [&entry.in_force, &entry.waiting].into_iter().flatten() {
            if let Some(Statement::Conversation(own)) = version.record(&entry.key).statement() {
                all.push(Some((own, version.offset)));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::topic::Expected;
    use super::*;

    const DAY_MS: i64 = 24 * 3_600_000;
    const IN: &str = r#"{"message": {"storage": "in", "retention": "7d"}}"#;
    const OF_USER: &str = r#"{"tenant": "a", "user": "u"}"#;

    /// What a change of `erasure/1` at some day says, where these records were written on day 0.
    fn change(records: &[(&str, &str)], value: Option<&str>, day: i64) -> Result<(), Option<i64>> {
        let mut book = Book::default();
        for (offset, (key, value)) in (0..).zip(records) {
            let body = Some(value.as_bytes());
            book.add(&ControlRecord::parse(offset, 0, key.as_bytes(), body));
        }
        let value = value.map(str::to_owned);
        let change = Change { key: "erasure/1".to_owned(), value, expected: Expected::Anything };
        match may_go(&change, &book, day * DAY_MS) {
            Err(ControlError::Needed { until_ms, .. }) => {
                Err(until_ms.map(|until_ms| until_ms / DAY_MS))
            }
            other => {
                assert!(other.is_ok());
                Ok(())
            }
        }
    }

    #[test]
    fn not_before_the_last_late_arrival_could_come() {
        let erasure = ("erasure/1", OF_USER);
        assert_eq!(change(&[erasure], None, 0), Err(Some(1)), "what passes through");
        assert_eq!(change(&[erasure], None, 1), Ok(()));
        let stored = ("tenant/a", IN);
        assert_eq!(change(&[stored, erasure], None, 6), Err(Some(7)));
        assert_eq!(change(&[stored, erasure], None, 7), Ok(()));
        let own = ("conversation/a/c", r#"{"retention": "30d"}"#);
        assert_eq!(change(&[stored, own, erasure], None, 7), Err(Some(30)));
        let later = r#"{"message": {"storage": "in", "retention": "9d"},
                        "effective_at": "1970-01-04T00:00:00Z"}"#;
        assert_eq!(change(&[stored, ("tenant/a", later), erasure], None, 0), Err(Some(9)));
        let all = ("erasure/1", r#"{"tenant": "a"}"#);
        assert_eq!(change(&[all], None, 999), Err(None), "config items are kept without end");
    }

    #[test]
    fn what_stands_is_bounded_first_and_nothing_is_narrowed() {
        let standing = ("erasure/1", r#"{"tenant": "a", "user": "u", "standing": true}"#);
        assert_eq!(change(&[standing], None, 99), Err(None));
        assert_eq!(change(&[standing], Some(OF_USER), 5), Ok(()), "bounded now");
        let bounded =
            ("erasure/1", r#"{"tenant": "a", "user": "u", "before": "1970-01-06T00:00:00Z"}"#);
        assert_eq!(change(&[standing, bounded], None, 5), Err(Some(6)));
        let earlier = r#"{"tenant": "a", "user": "u", "before": "1970-01-05T00:00:00Z"}"#;
        assert_eq!(change(&[bounded], Some(earlier), 5), Err(Some(6)));
        let narrower = r#"{"tenant": "a", "user": "u", "conversation": "c"}"#;
        assert_eq!(change(&[bounded], Some(narrower), 5), Err(Some(6)));
        assert_eq!(change(&[bounded], Some(narrower), 6), Ok(()), "nothing is left to end");
    }
}
