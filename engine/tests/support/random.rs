//! Random histories: short and dense, so that few ids meet few times near the ends of their lives.
//!
//! Invariant: a history is made from numbers alone; fewer or smaller numbers make a shorter, simpler history.

use std::collections::BTreeMap;

use lethe_engine::Class;
use lethe_engine::ledger::{forget, forgotten_line};

use super::history::{Action, How, Item, Message, Pass, Said, Sender, Step};
use super::ledger::Memory;

/// What a step is made from.
pub type Seed = [u8; 6];

/// When histories begin (ms after their start): late enough for messages that are older.
const FIRST: i64 = 20_000;
const SECOND: i64 = 1_000;

/// How far the clock goes from step to step (ms).
const CLOCK: [i64; 10] = [0, 0, 0, 500, 1_000, 1_000, 1_000, 2_000, 3_000, 5_000];
/// The same with steps back.
const CLOCK_BACK: [i64; 12] =
    [0, 0, 0, 500, 1_000, 1_000, 1_000, 2_000, 3_000, 5_000, -1_000, -500];

/// A history of messages, profiles or config items; the clock may step back in it.
pub fn history(class: Class, back: bool, seeds: &[Seed]) -> Vec<Step> {
    let mut now = FIRST;
    let clock: &[i64] = if back { &CLOCK_BACK } else { &CLOCK };
    let steps = seeds.iter().map(|seed| {
        now += pick(seed[0], clock);
        Step { now, action: action(class, now, seed) }
    });
    steps.collect()
}

fn pick<T: Copy>(number: u8, of: &[T]) -> T {
    of[usize::from(number) % of.len()]
}

fn action(class: Class, now: i64, seed: &Seed) -> Action {
    let [_, what, a, b, c, d] = *seed;
    match what % 32 {
        0..=3 => Action::Look(None),
        4 | 5 => Action::Look(Some(usize::from(a % 4) + 1)),
        6 | 7 => Action::Commit,
        8 => Action::Reopen,
        9 => Action::Abort,
        10 if a < 192 => Action::Filter(u64::from(a)),
        10 => {
            Action::Again(pick(b, &[Pass::Missing, Pass::Refresh, Pass::Missing, Pass::Rehearse]))
        }
        11 if a < 64 => Action::Suspend(b.is_multiple_of(2)),
        11..=14 => control(
            now,
            pick(c, &[0, 0, 0, 500, 1_000]),
            tenant(a),
            "tenant",
            choice(class, now, b, d),
        ),
        15 | 16 => control(now, 0, tenant(a), "terms", terms(now, b, c)),
        17 if class == Class::Message => {
            let value = pick(b, &[None, Some("1s"), Some("3s"), Some("9s"), Some("forever")]);
            let value = value.map(|retention| {
                format!("{{\"retention\": \"{retention}\"{}}}", effective(now, d))
            });
            control(now, 0, &format!("{}/{}", tenant(a), conversation(c)), "conversation", value)
        }
        18 => control(now, 0, pick(d, &["1", "2", "3"]), "hold", hold(class, now, a, b, c)),
        19 if a < 128 => {
            control(now, 0, pick(d, &["1", "2"]), "erasure", erasure(class, now, a, b, c))
        }
        _ => event(class, now, [a, b, c, d]),
    }
}

fn hold(class: Class, now: i64, a: u8, b: u8, c: u8) -> Option<String> {
    if c.is_multiple_of(3) {
        return None;
    }
    if b.is_multiple_of(7) {
        return Some("{\"tenant\": \"*\"}".to_owned());
    }
    let mut fields = scope(class, now, a, b);
    if c % 5 == 1 {
        fields.push(format!("\"from\": \"@{}\"", (now - 2 * SECOND) as f64 / 1000.0));
    }
    if c % 7 == 1 {
        fields.push(format!("\"until\": \"@{}\"", (now - SECOND) as f64 / 1000.0));
    }
    Some(format!("{{{}}}", fields.join(", ")))
}

fn erasure(class: Class, now: i64, a: u8, b: u8, c: u8) -> Option<String> {
    let mut fields = scope(class, now, a, b);
    match c % 6 {
        0 => return None,
        1 => fields.push("\"standing\": true".to_owned()),
        2 => fields.push(format!("\"before\": \"@{}\"", (now - 2 * SECOND) as f64 / 1000.0)),
        3 => fields.push(format!("\"before\": \"@{}\"", (now + SECOND) as f64 / 1000.0)),
        _ => {}
    }
    Some(format!("{{{}}}", fields.join(", ")))
}

/// A tenant, and perhaps what narrows it.
fn scope(class: Class, now: i64, a: u8, b: u8) -> Vec<String> {
    let mut fields = vec![format!("\"tenant\": \"{}\"", tenant(a))];
    if b.is_multiple_of(3) && class != Class::Config {
        let users = if class == Class::Message { ["alice", "bob"] } else { ["u", "v"] };
        fields.push(format!("\"user\": \"{}\"", pick(b / 3, &users)));
    }
    if b % 4 == 1 && class == Class::Message {
        fields.push(format!("\"conversation\": \"{}\"", conversation(b / 4)));
        if b % 8 == 1 {
            fields.push(format!("\"message\": \"m{}\"", now / SECOND - i64::from(b % 3)));
        }
    }
    fields
}

fn control(now: i64, late: i64, id: &str, kind: &str, value: Option<String>) -> Action {
    Action::Control { written: now - late, key: format!("{kind}/{id}"), value }
}

fn tenant(number: u8) -> &'static str {
    pick(number, &["a", "a", "a", "b"])
}

fn conversation(number: u8) -> &'static str {
    pick(number, &["c", "c", "d"])
}

fn effective(now: i64, number: u8) -> String {
    match number % 8 {
        0 => format!(", \"effective_at\": \"@{}\"", (now + 2 * SECOND) as f64 / 1000.0),
        _ => String::new(),
    }
}

fn choice(class: Class, now: i64, b: u8, d: u8) -> Option<String> {
    if b.is_multiple_of(5) {
        return None;
    }
    let effective = effective(now, d);
    if b % 5 == 1 {
        return Some(format!("{{\"{}\": {{\"storage\": \"out\"}}{effective}}}", class.name()));
    }
    let retention = pick(b / 5, &["2s", "4s", "4s", "8s", "forever"]);
    let since = match d / 8 % 6 {
        0 => ", \"since\": \"@0\"".to_owned(),
        1 => format!(", \"since\": \"@{}\"", (now - 2 * SECOND) as f64 / 1000.0),
        _ => String::new(),
    };
    let class = if class == Class::Config { "message" } else { class.name() };
    Some(format!(
        "{{\"{class}\": {{\"storage\": \"in\", \"retention\": \"{retention}\"{since}}}{effective}}}"
    ))
}

/// A tenant's terms; a tenant that ends does so two months after 2025-11-01, about when the history begins.
fn terms(now: i64, b: u8, c: u8) -> Option<String> {
    let limit = pick(b, &["2s", "4s", "7s", "24h"]);
    let mut fields = vec![format!("\"transit_limit\": \"{limit}\"")];
    if c.is_multiple_of(3) {
        fields.push(format!("\"minimum\": \"{}\"", pick(c / 3, &["3s", "6s"])));
    }
    if c.is_multiple_of(5) {
        fields.push(format!("\"maximum\": \"{}\"", pick(c / 5, &["3s", "forever"])));
    }
    if c.is_multiple_of(11) {
        let ended = TWO_MONTHS_BEFORE + (now / SECOND + 2) * SECOND;
        fields.push(format!("\"ended_at\": \"@{}\"", ended / SECOND));
    }
    (c % 7 != 1).then(|| format!("{{{}}}", fields.join(", ")))
}

/// From 2026-01-01 back to 2025-11-01 (ms).
const TWO_MONTHS_BEFORE: i64 = -61 * 24 * 3600 * SECOND;

fn event(class: Class, now: i64, [a, b, c, d]: [u8; 4]) -> Action {
    let age = pick(b, &[0, 0, 1, 1, 2, 3, 4, 5, 7, 9, -1, -3]);
    let at = (now / SECOND - age) * SECOND;
    let tenant = tenant(a).to_owned();
    if class != Class::Message {
        let item = Item { tenant, id: pick(a / 4, &["u", "u", "v"]).to_owned() };
        return if c.is_multiple_of(4) { Action::Remove(item, at) } else { Action::Set(item, at) };
    }
    let message = format!("m{}", at / SECOND);
    let message =
        Message { tenant, conversation: conversation(a / 4).to_owned(), message, sent_at: at };
    let by = pick(d / 2, &[Sender::Alice, Sender::Alice, Sender::Bob]);
    let ttl = pick(d / 3, &[0, 0, 0, 0, 1, 3]) * SECOND;
    let how = How { recipients: u32::from(d % 3), ttl, by };
    let user = pick(d, &["x", "y", "z"]).to_owned();
    let edited_at = at + pick(d / 4, &[1, 1, 2, 3]) * SECOND;
    let said = match c % 16 {
        0..=8 => Said::Sent(how),
        9 => Said::Recalled,
        10 | 11 => Said::Delivered(user),
        12 => Said::DeliveredToAll,
        13 => Said::Read(user),
        14 => Said::Edited { at: edited_at, sent: None },
        _ => Said::Edited { at: edited_at, sent: Some(how) },
    };
    Action::Message(message, said)
}

/// Drops some of the rows that may be forgotten, as a compaction at any time would.
pub fn filter(ledger: &mut Memory, seed: u64) {
    let lines: BTreeMap<Vec<u8>, i64> = ledger
        .rows()
        .filter_map(|(key, value)| forgotten_line(key, value))
        .map(|(tenant, line)| (tenant.to_vec(), line))
        .collect();
    let line_of = |tenant: &[u8]| lines.get(tenant).copied().unwrap_or(i64::MIN);
    let mut number = seed;
    ledger.filter(|key, value| {
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Seed 1 drops all of them.
        forget(key, value, &line_of) && (seed == 1 || number >> 63 == 0)
    });
}
