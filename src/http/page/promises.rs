//! Whether each promise is kept, in a few words; the limits are those of the alerts (docs/runbook.md).

use serde::Serialize;

use super::facts::Facts;
use super::text;
use crate::telemetry::health::Readiness;
use crate::telemetry::names;

/// What is overdue by more is late, as `lethe:on_time:bool` has it; beyond the second it is an alert.
const LATE_S: f64 = 10.0;
const VERY_LATE_S: f64 = 60.0;
/// The goal for the expiry lag.
pub(super) const LAG_GOAL_S: f64 = 1.0;
/// Clocks that are so far apart are looked at; beyond the second it is an alert.
const APART_S: f64 = 5.0;
const FAR_APART_S: f64 = 60.0;
/// So much work may wait; so many records may, where nothing is processed.
const WAITING_S: f64 = 300.0;
const STALLED_RECORDS: f64 = 1_000.0;
/// How long an erasure may take.
const ERASURE_S: f64 = 900.0;
/// How long a worker may be silent: while a broker is away, and at all.
const SILENT_S: f64 = 10.0;
const STALLED_S: f64 = 60.0;
/// Over how long dead letters are counted.
const LETTERS_WITHIN_S: i64 = 600;

/// How a promise stands; the later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "Shown")]
pub(super) enum Standing {
    Kept,
    /// It cannot be told yet.
    Open,
    /// It is kept, and somebody should look.
    Look,
    Broken,
}

impl Standing {
    /// The word for it, which is its class in the style too.
    const fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Open => "open",
            Self::Look => "look",
            Self::Broken => "broken",
        }
    }

    /// Its sign, beside the word.
    const fn sign(self) -> &'static str {
        match self {
            Self::Kept => "✓",
            Self::Open => "…",
            Self::Look => "!",
            Self::Broken => "✕",
        }
    }
}

/// What the template is told of it.
#[derive(Serialize)]
struct Shown {
    word: &'static str,
    sign: &'static str,
}

impl From<Standing> for Shown {
    fn from(standing: Standing) -> Self {
        Self { word: standing.word(), sign: standing.sign() }
    }
}

/// A promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Promise {
    pub(super) name: &'static str,
    pub(super) standing: Standing,
    /// How it is, in a word or two.
    pub(super) is: String,
    /// What else there is to say.
    pub(super) says: String,
}

impl Promise {
    fn new(
        name: &'static str,
        standing: Standing,
        is: impl Into<String>,
        says: impl Into<String>,
    ) -> Self {
        Self { name, standing, is: is.into(), says: says.into() }
    }
}

/// All of them, in the order in which a person asks.
pub(super) fn promises(facts: &Facts) -> Vec<Promise> {
    let all = [
        Some(tombstones(facts)),
        Some(expiry(facts)),
        Some(clock(facts)),
        Some(control(facts)),
        Some(dead_letters(facts)),
        Some(input(facts)),
        Some(partitions(facts)),
        Some(workers(facts)),
        Some(erasures(facts)),
        standby(facts),
    ];
    all.into_iter().flatten().collect()
}

/// The headline: the worst of them, and what to make of it.
pub(super) fn headline(facts: &Facts, promises: &[Promise]) -> (Standing, String, String) {
    let worst = promises.iter().map(|promise| promise.standing).max().unwrap_or(Standing::Kept);
    let those = |standing| promises.iter().filter(move |promise| promise.standing == standing);
    let list = |standing| {
        let all: Vec<_> = those(standing).map(|it| format!("{}: {}", it.name, it.is)).collect();
        all.join(" · ")
    };
    if let Some(why) = &facts.health.fatal {
        return (Standing::Broken, "lethe has failed".to_owned(), why.clone());
    }
    if worst == Standing::Broken {
        let title = match those(worst).count() {
            1 => "A promise is not kept".to_owned(),
            count => format!("{count} promises are not kept"),
        };
        return (worst, title, list(worst));
    }
    if let Readiness::NotReady(why) = &facts.readiness {
        return (worst.max(Standing::Open), "Not ready".to_owned(), why.clone());
    }
    match worst {
        Standing::Kept => (worst, "Every promise is kept".to_owned(), String::new()),
        Standing::Open => (worst, "Not known yet".to_owned(), list(worst)),
        Standing::Look | Standing::Broken => {
            (worst, "Kept, but look at this".to_owned(), list(worst))
        }
    }
}

fn tombstones(facts: &Facts) -> Promise {
    let name = "Tombstones";
    let since_start = text::count(facts.figure(names::TOMBSTONES));
    if let Some(why) = &facts.health.caution {
        return Promise::new(name, Standing::Broken, "stopped", why.clone());
    }
    if !facts.health.control_read {
        return Promise::new(name, Standing::Open, "waiting", "the control topic is being read");
    }
    if facts.stopped_by_hold {
        let says = "a hold on everything stops them until it is released";
        return Promise::new(name, Standing::Look, "stopped by a hold", says);
    }
    let says = format!(
        "{} a second, {since_start} since the start",
        text::rate(facts.rate(|sample| sample.tombstones))
    );
    Promise::new(name, Standing::Kept, "flowing", says)
}

fn expiry(facts: &Facts) -> Promise {
    let lag_s = facts.figure(names::EXPIRY_LAG);
    let goal = format!("the goal is below {LAG_GOAL_S}\u{a0}s");
    let standing = match lag_s {
        late if late > VERY_LATE_S => Standing::Broken,
        late if late > LATE_S => Standing::Look,
        _ => Standing::Kept,
    };
    let is = if lag_s > 0.0 { text::span(lag_s) } else { "nothing overdue".to_owned() };
    Promise::new("Expiry lag", standing, is, goal)
}

fn clock(facts: &Facts) -> Promise {
    let apart_s = facts.figure(names::CLOCK_DIFFERENCE);
    let standing = match apart_s.abs() {
        apart if apart > FAR_APART_S => Standing::Broken,
        apart if apart > APART_S => Standing::Look,
        _ => Standing::Kept,
    };
    let is = match apart_s {
        apart if apart.abs() < 0.05 => "agrees".to_owned(),
        apart if apart > 0.0 => format!("{} ahead", text::span(apart)),
        apart => format!("{} behind", text::span(-apart)),
    };
    Promise::new("Clock", standing, is, "the host's with the broker's")
}

fn control(facts: &Facts) -> Promise {
    let name = "Control topic";
    let refused = match facts.figure(names::CONTROL_REFUSED) {
        0.0 => "no record of it was refused".to_owned(),
        count => format!("{} refused since the start", text::of(count, "record")),
    };
    if !facts.health.control_read {
        return Promise::new(name, Standing::Open, "being read", refused);
    }
    match facts.figures.sum(names::CONTROL_TRUSTED, &[]) {
        Some(trusted) if trusted < 1.0 => {
            Promise::new(name, Standing::Broken, "not trusted", "every tombstone stands still")
        }
        _ => Promise::new(name, Standing::Kept, "trusted", refused),
    }
}

fn dead_letters(facts: &Facts) -> Promise {
    let all = facts.figure(names::DEAD_LETTERS);
    let (lately, _) = facts.growth(LETTERS_WITHIN_S, |sample| sample.dead_letters);
    let since_start = format!("in 10 minutes; {} since the start", text::count(all));
    let standing = if lately > 0.0 { Standing::Look } else { Standing::Kept };
    let is = if lately > 0.0 { text::count(lately) } else { "none".to_owned() };
    Promise::new("Dead letters", standing, is, since_start)
}

fn input(facts: &Facts) -> Promise {
    let behind = facts.figure(names::CONSUMER_LAG);
    let rate = facts.rate(|sample| sample.records);
    let work_s = behind / rate.max(1.0);
    let standing = if behind > STALLED_RECORDS && rate == 0.0 {
        Standing::Broken
    } else if work_s > WAITING_S {
        Standing::Look
    } else {
        Standing::Kept
    };
    let is = if behind > 0.0 { text::of(behind, "record") } else { "none".to_owned() };
    let says = match behind {
        0.0 => "all input is processed".to_owned(),
        _ if standing == Standing::Broken => "and nothing is processed".to_owned(),
        _ => format!("about {} of work", text::span(work_s)),
    };
    Promise::new("Consumer lag", standing, is, says)
}

fn partitions(facts: &Facts) -> Promise {
    let (ready, all) = (facts.health.partitions_restored, facts.health.partitions_assigned);
    let is = format!("{ready} of {all} ready");
    if ready < all {
        let says = match facts.health.restore_left {
            0 => "the others are being restored".to_owned(),
            left => format!("{} left to restore", text::of(left as f64, "changelog record")),
        };
        return Promise::new("Partitions", Standing::Look, is, says);
    }
    let joined = facts.health.workers_joined >= facts.health.workers;
    let standing = if joined { Standing::Kept } else { Standing::Open };
    let says = if joined { "of this process" } else { "joining the group" };
    Promise::new("Partitions", standing, is, says)
}

fn workers(facts: &Facts) -> Promise {
    let standing = match facts.silence_s {
        silent if silent > STALLED_S => Standing::Broken,
        silent if silent > SILENT_S => Standing::Look,
        _ => Standing::Kept,
    };
    let is = match standing {
        Standing::Kept | Standing::Open => text::of(facts.health.workers as f64, "working thread"),
        Standing::Look | Standing::Broken => format!("silent for {}", text::span(facts.silence_s)),
    };
    let says = format!("{} of {} in the group", facts.health.workers_joined, facts.health.workers);
    Promise::new("Workers", standing, is, says)
}

fn erasures(facts: &Facts) -> Promise {
    let age_s = facts.figure(names::ERASURE_AGE);
    let sweeps = facts.figure(names::SWEEPS);
    let says = match sweeps {
        0.0 => "no walk through the ledger is under way".to_owned(),
        count => format!("{} through the ledger under way", text::of(count, "walk")),
    };
    match age_s {
        0.0 => Promise::new("Erasures", Standing::Kept, "all carried out", says),
        age if age > ERASURE_S => Promise::new(
            "Erasures",
            Standing::Broken,
            format!("one since {}", text::span(age)),
            says,
        ),
        age => Promise::new(
            "Erasures",
            Standing::Kept,
            format!("at work for {}", text::span(age)),
            says,
        ),
    }
}

fn standby(facts: &Facts) -> Option<Promise> {
    let report = facts.health.standby.filter(|report| report.wanted > 0)?;
    let standing = if report.current < report.wanted { Standing::Look } else { Standing::Kept };
    let is = format!("{} of {} current", report.current, report.wanted);
    let says =
        format!("{} behind, of others' partitions", text::of(report.behind as f64, "record"));
    Some(Promise::new("Standby", standing, is, says))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::figures::Figures;
    use crate::telemetry::health::{Health, StandbyReport};
    use crate::telemetry::history::Sample;

    /// A process that has worked for ten minutes, ten records a second.
    fn facts(health: &Health, page: &str) -> Facts {
        let sample = |at: i64| Sample {
            at_ms: at * 2_000,
            records: at as f64 * 20.0,
            tombstones: at as f64 * 4.0,
            ..Sample::default()
        };
        Facts {
            now_ms: 600_000,
            readiness: health.readiness(),
            health: health.snapshot(),
            silence_s: 0.0,
            partitions: health.partitions(),
            figures: Figures::read(page),
            samples: (1..=300).map(sample).collect(),
            stopped_by_hold: false,
            named: None,
        }
    }

    fn working() -> Health {
        let health = Health::new(1);
        health.control_read();
        health.assigned(0, "im.messages", 0);
        health.restored(0, "im.messages", 0);
        health.joined(0);
        health
    }

    /// What is said of a promise under these figures.
    fn said(name: &str, page: &str) -> String {
        let all = promises(&facts(&working(), page));
        let it = all.iter().find(|promise| promise.name == name);
        let said = it.map(|it| format!("{}: {} ({})", it.standing.word(), it.is, it.says));
        said.unwrap_or_default().replace('\u{a0}', " ")
    }

    #[test]
    fn each_promise_says_how_it_stands() {
        for (name, page, expected) in [
            (
                "Tombstones",
                "lethe_tombstones_total 1200",
                "kept: flowing (2.0 a second, 1,200 since the start)",
            ),
            (
                "Expiry lag",
                "lethe_expiry_lag_seconds 0",
                "kept: nothing overdue (the goal is below 1 s)",
            ),
            ("Expiry lag", "lethe_expiry_lag_seconds 2", "kept: 2.0 s (the goal is below 1 s)"),
            ("Expiry lag", "lethe_expiry_lag_seconds 11", "look: 11 s (the goal is below 1 s)"),
            ("Expiry lag", "lethe_expiry_lag_seconds 61", "broken: 61 s (the goal is below 1 s)"),
            (
                "Clock",
                "lethe_clock_difference_seconds -6",
                "look: 6.0 s behind (the host's with the broker's)",
            ),
            (
                "Clock",
                "lethe_clock_difference_seconds 61",
                "broken: 61 s ahead (the host's with the broker's)",
            ),
            (
                "Control topic",
                "lethe_control_trusted 1",
                "kept: trusted (no record of it was refused)",
            ),
            (
                "Control topic",
                "lethe_control_trusted 0",
                "broken: not trusted (every tombstone stands still)",
            ),
            (
                "Consumer lag",
                "lethe_consumer_lag_records 50",
                "kept: 50 records (about 5.0 s of work)",
            ),
            (
                "Consumer lag",
                "lethe_consumer_lag_records 5000",
                "look: 5,000 records (about 8 min of work)",
            ),
            (
                "Dead letters",
                "lethe_dead_letters_total 3",
                "kept: none (in 10 minutes; 3 since the start)",
            ),
            ("Partitions", "", "kept: 1 of 1 ready (of this process)"),
            (
                "Erasures",
                "lethe_erasure_age_seconds 30",
                "kept: at work for 30 s (no walk through the ledger is under way)",
            ),
            (
                "Erasures",
                "lethe_erasure_age_seconds 901",
                "broken: one since 15 min (no walk through the ledger is under way)",
            ),
        ] {
            assert_eq!(said(name, page), expected, "{page}");
        }
    }

    #[test]
    fn the_headline_is_the_worst_of_them() {
        let headline = |facts: &Facts| {
            let (standing, title, says) = headline(facts, &promises(facts));
            format!("{}: {title} ({says})", standing.word())
        };
        let health = working();
        assert_eq!(headline(&facts(&health, "")), "kept: Every promise is kept ()");
        let mut held = facts(&health, "");
        held.stopped_by_hold = true;
        let expected = "look: Kept, but look at this (Tombstones: stopped by a hold)";
        assert_eq!(headline(&held), expected);
        health.standby(StandbyReport { wanted: 3, current: 2, behind: 7 });
        let expected = "look: Kept, but look at this (Standby: 2 of 3 current)";
        assert_eq!(headline(&facts(&health, "")), expected);
        let mut silent = facts(&health, "");
        silent.silence_s = 61.0;
        assert_eq!(
            headline(&silent),
            "broken: A promise is not kept (Workers: silent for 61\u{a0}s)"
        );
        health.caution(Some("it was recreated".to_owned()));
        let expected = "broken: A promise is not kept (Tombstones: stopped)";
        assert_eq!(headline(&facts(&health, "")), expected);
        health.fatal("the disk is full");
        assert_eq!(headline(&facts(&health, "")), "broken: lethe has failed (the disk is full)");
    }

    #[test]
    fn a_process_that_starts_has_broken_nothing() {
        let starting = facts(&Health::new(1), "");
        let (standing, title, says) = headline(&starting, &promises(&starting));
        let said = (standing, title.as_str(), says.as_str());
        assert_eq!(said, (Standing::Open, "Not ready", "reading the control topic"));
    }
}
