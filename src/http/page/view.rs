//! The page: facts put into the words, numbers and paths of its template.

use std::collections::BTreeMap;

use lethe_engine::Class;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::facts::Facts;
use super::graph::{Figure, Graph, Measure, Sketch};
use super::promises::{LAG_GOAL_S, Promise, Standing, headline, promises};
use super::requests::Request;
use super::{SCRIPT, STYLE, text};
use crate::telemetry::health::Drain;
use crate::telemetry::names;
use crate::telemetry::reports::Reported;

/// The template: its name ends so that what is put into it is escaped.
const TEMPLATE: (&str, &str) = ("page.html", include_str!("page.html"));

/// What the template is filled with.
#[derive(Serialize)]
struct View {
    style: &'static str,
    script: &'static str,
    now: Moment,
    standing: Standing,
    title: String,
    says: String,
    promises: Vec<Promise>,
    throughput: Graph,
    lag: Graph,
    live: Vec<Live>,
    reasons: Vec<Reason>,
    topics: Vec<Topic>,
    restore: Option<Restore>,
    standby: Option<String>,
    replays: Option<String>,
    waiting: Option<String>,
    process: Vec<(&'static str, String)>,
    named: Option<Names>,
}

/// A moment, for programs and for persons.
#[derive(Serialize)]
struct Moment {
    exact: String,
    shown: String,
}

/// What lives of a class.
#[derive(Serialize)]
struct Live {
    class: &'static str,
    stored: String,
    transit: String,
    kept: String,
}

/// How many ended for a reason, and how much of the most frequent one's that is (of 100).
#[derive(Serialize)]
struct Reason {
    name: String,
    count: String,
    share: String,
}

/// The partitions of a topic.
#[derive(Serialize)]
struct Topic {
    name: String,
    ready: String,
    restoring: String,
    behind: String,
}

/// How far the restores are.
#[derive(Serialize)]
struct Restore {
    percent: String,
    says: String,
}

/// What carries names.
#[derive(Serialize)]
struct Names {
    requests: Vec<(Moment, Request)>,
    requests_more: usize,
    reports: Vec<(Moment, Reported)>,
}

/// Writes the page.
pub(super) fn page(facts: Facts) -> Result<String, minijinja::Error> {
    let promises = promises(&facts);
    let (standing, title, says) = headline(&facts, &promises);
    let now_ms = facts.now_ms;
    let view = View {
        style: STYLE,
        script: SCRIPT,
        now: moment(now_ms, now_ms),
        standing,
        title,
        says,
        throughput: throughput(&facts),
        lag: lag(&facts),
        live: live(&facts),
        reasons: reasons(&facts),
        topics: topics(&facts),
        restore: restore(&facts),
        standby: standby(&facts),
        replays: replays(&facts),
        waiting: waiting(&facts),
        process: process(&facts),
        promises,
        named: facts.named.map(|named| Names {
            requests: dated(named.requests.shown, now_ms, |request| request.since_ms),
            requests_more: named.requests.more,
            reports: dated(named.reports, now_ms, |report| report.at_ms),
        }),
    };
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    let (name, template) = TEMPLATE;
    templates.add_template(name, template)?;
    templates.get_template(name)?.render(Serde(view))
}

fn moment(at_ms: i64, now_ms: i64) -> Moment {
    Moment { exact: text::exact(at_ms), shown: text::moment(at_ms, now_ms) }
}

fn throughput(facts: &Facts) -> Graph {
    let samples = &facts.samples;
    let figures = vec![
        Figure::rate("records in", samples, |sample| sample.records),
        Figure::rate("contents out", samples, |sample| sample.contents),
        Figure::rate("tombstones out", samples, |sample| sample.tombstones),
    ];
    Sketch { figures, measure: Measure::Rate, goal: None, now_ms: facts.now_ms }.draw()
}

fn lag(facts: &Facts) -> Graph {
    let figures = vec![Figure::gauge("expiry lag", &facts.samples, |sample| sample.expiry_lag_s)];
    let goal = Some(LAG_GOAL_S);
    Sketch { figures, measure: Measure::Span, goal, now_ms: facts.now_ms }.draw()
}

fn live(facts: &Facts) -> Vec<Live> {
    let row = |class: Class| {
        let of = |name: &str, labels: &[(&str, &str)]| {
            let labels: Vec<_> = [("class", class.name())].iter().chain(labels).copied().collect();
            facts.figures.sum(name, &labels).map_or_else(|| "–".to_owned(), text::count)
        };
        Live {
            class: class.name(),
            stored: of(names::LIVE_RECORDS, &[("storage", "stored")]),
            transit: of(names::LIVE_RECORDS, &[("storage", "transit")]),
            kept: of(names::KEPT_RECORDS, &[]),
        }
    };
    [Class::Message, Class::Profile, Class::Config].map(row).into()
}

fn reasons(facts: &Facts) -> Vec<Reason> {
    let counts = facts.figures.by(names::TOMBSTONES, "reason");
    let most = counts.values().copied().fold(1.0, f64::max);
    let mut counts: Vec<(&str, f64)> =
        counts.into_iter().filter(|&(_, count)| count > 0.0).collect();
    counts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let row = |(name, count): (&str, f64)| Reason {
        name: name.to_owned(),
        count: text::count(count),
        share: format!("{:.1}", count / most * 100.0),
    };
    counts.into_iter().map(row).collect()
}

fn topics(facts: &Facts) -> Vec<Topic> {
    let mut topics: BTreeMap<&str, (Vec<i32>, Vec<i32>)> = BTreeMap::new();
    for partition in &facts.partitions {
        let (ready, restoring) = topics.entry(&partition.topic).or_default();
        if partition.restored { ready } else { restoring }.push(partition.partition);
    }
    let row = |(name, (ready, restoring)): (&str, (Vec<i32>, Vec<i32>))| Topic {
        name: name.to_owned(),
        ready: ranges(ready),
        restoring: ranges(restoring),
        behind: facts
            .figures
            .sum(names::CONSUMER_LAG, &[("topic", name)])
            .map_or_else(|| "–".to_owned(), text::count),
    };
    topics.into_iter().map(row).collect()
}

/// Numbers as ranges: `0–3, 7`.
fn ranges(mut numbers: Vec<i32>) -> String {
    numbers.sort_unstable();
    numbers.dedup();
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let range = |(first, last): (i32, i32)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}–{last}"),
    };
    let ranges: Vec<String> = ranges.into_iter().map(range).collect();
    if ranges.is_empty() { "–".to_owned() } else { ranges.join(", ") }
}

fn restore(facts: &Facts) -> Option<Restore> {
    let left = facts.health.restore_left as f64;
    let done = facts.figure(names::RESTORED_RECORDS);
    (left > 0.0).then(|| Restore {
        percent: format!("{:.0}", done / (done + left) * 100.0),
        says: format!("{} read, {} left", text::of(done, "changelog record"), text::count(left)),
    })
}

fn standby(facts: &Facts) -> Option<String> {
    let report = facts.health.standby?;
    Some(format!(
        "{} of {} partitions are current, {} records behind",
        report.current, report.wanted, report.behind
    ))
}

/// What replays have still to read here.
fn replays(facts: &Facts) -> Option<String> {
    let partitions = facts.figure(names::REPLAYS);
    let left = facts.figure(names::REPLAY_REMAINING);
    (partitions > 0.0).then(|| {
        format!(
            "in {}, {} left to read",
            text::of(partitions, "partition"),
            text::of(left, "offset")
        )
    })
}

/// Changes that are not in force yet.
fn waiting(facts: &Facts) -> Option<String> {
    let changes = facts.figure(names::CHANGES_WAITING);
    let due_s = facts.figure(names::CHANGE_DUE);
    (changes > 0.0).then(|| {
        let changes = text::of(changes, "change");
        format!(
            "{changes} with an effective_at that is to come, the next one in {}",
            text::span(due_s)
        )
    })
}

fn process(facts: &Facts) -> Vec<(&'static str, String)> {
    let health = &facts.health;
    let seconds = |name| text::span(facts.figure(name));
    let bytes = |name| text::bytes(facts.figure(name));
    let started_s = facts.figure("process_start_time_seconds");
    let up_s = facts.now_ms as f64 / 1_000.0 - started_s;
    let drain = match health.drain {
        Drain::Not => None,
        Drain::Draining => Some(("Draining", "it leaves its group".to_owned())),
        Drain::Drained => Some(("Drained", "it has left its group".to_owned())),
    };
    let all = [
        Some(("Running for", text::span(up_s))),
        drain,
        Some(("Memory", bytes("process_resident_memory_bytes"))),
        Some(("State on disk", bytes(names::STATE_BYTES))),
        Some(("Changelogs", bytes(names::CHANGELOG_BYTES))),
        Some((
            "Oldest snapshot",
            match facts.figure(names::SNAPSHOT_AGE) {
                0.0 => "none yet".to_owned(),
                _ => seconds(names::SNAPSHOT_AGE),
            },
        )),
        Some(("Version", env!("CARGO_PKG_VERSION").to_owned())),
    ];
    all.into_iter().flatten().collect()
}

fn dated<T>(all: Vec<T>, now_ms: i64, at_ms: fn(&T) -> i64) -> Vec<(Moment, T)> {
    all.into_iter().map(|one| (moment(at_ms(&one), now_ms), one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_shown_as_ranges() {
        let shown = [vec![], vec![3], vec![2, 0, 1], vec![7, 0, 1, 9, 8]].map(ranges);
        assert_eq!(shown, ["–", "3", "0–2", "0–1, 7–9"]);
    }
}
