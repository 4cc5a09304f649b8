//! The view and the summary as text: at most 80 columns, and few enough lines for a terminal of 24.

use std::fmt::Write as _;

use console::style;
use lethe_engine::{Class, Storage};

use super::Stage;
use super::proof::{Summary, Tally};
use super::view::{Scene, Speed};

/// What any terminal has.
const COLUMNS: usize = 80;
/// So many news are shown.
const NEWS_SHOWN: usize = 3;
/// What tombstones take at most: as many lines as their reasons need.
const REASON_LINES: usize = 2;
/// How high a speed stands in its line.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The play at one moment.
pub(super) struct Picture<'p> {
    pub(super) scene: &'p Scene<'p>,
    pub(super) stage: &'p Stage,
    pub(super) phase: &'p str,
    /// Since the start.
    pub(super) seconds: u64,
    /// The last ones, the oldest first.
    pub(super) speeds: &'p [Speed],
}

impl Picture<'_> {
    /// As many at any time, so that nothing moves.
    pub(super) fn lines(&self) -> Vec<String> {
        let Scene { http, length, .. } = self.scene;
        let mut lines = vec![
            format!(
                "{}  {} · {} s, traffic for {} s",
                style("lethe demo").bold(),
                self.phase,
                self.seconds,
                length.as_secs()
            ),
            format!(
                "{} {} {}",
                style("status page").dim(),
                style(format!("http://{http}/")).cyan(),
                style("· ctrl-C ends the traffic").dim()
            ),
            String::new(),
        ];
        lines.extend(self.speed_lines());
        lines.push(String::new());
        lines.extend(self.live());
        lines.push(String::new());
        let mut tombstones = wrapped("tombstones  ", &reasons(self.stage));
        tombstones.resize(REASON_LINES, String::new());
        lines.append(&mut tombstones);
        lines.push(String::new());
        let news = self.stage.news.iter().rev().take(NEWS_SHOWN).rev();
        lines.extend(news.map(|(at, says)| format!("{:>4} s  {says}", at.as_secs())));
        lines
    }

    fn speed_lines(&self) -> [String; 2] {
        let downstream = &self.stage.downstream;
        let now = self.speeds.last().copied().unwrap_or_default();
        let late_s = downstream.late_ms.max(0) as f64 / 1_000.0;
        let line = |name: &str, now: f64, of: fn(&Speed) -> f64, beside: String| {
            let graph = sparks(self.speeds.iter().map(of));
            format!("{name:<4}{now:>6.0}/s  {}  {beside}", style(format!("{graph:>30}")).cyan())
        };
        [
            line("in", now.into, |speed| speed.into, format!("last expiry {late_s:.1} s late")),
            line(
                "out",
                now.out,
                |speed| speed.out,
                format!("dead letters {}", downstream.dead_letters),
            ),
        ]
    }

    fn live(&self) -> Vec<String> {
        let heads = [
            "live now                               ── in store ─────────── ── in transit ─",
            "tenant  chose                            message profile config message profile",
        ];
        let row = |(tenant, says): &(String, &'static str)| {
            let live = |class, storage| {
                let live = &self.stage.downstream.live;
                live.get(&(tenant.clone(), class, storage)).copied().unwrap_or(0)
            };
            format!(
                "{tenant:<7} {says:<34} {:>6} {:>7} {:>6} {:>7} {:>7}",
                live(Class::Message, Storage::Stored),
                live(Class::Profile, Storage::Stored),
                live(Class::Config, Storage::Stored),
                live(Class::Message, Storage::Transit),
                live(Class::Profile, Storage::Transit),
            )
        };
        let heads = heads.into_iter().map(|head| style(head).dim().to_string());
        heads.chain(self.scene.cast.iter().map(row)).collect()
    }
}

/// How many ended for each reason.
pub(super) fn reasons(stage: &Stage) -> Vec<String> {
    let reasons = stage.downstream.reasons.iter();
    reasons.map(|(reason, count)| format!("{reason} {count}")).collect()
}

/// Items behind a head, in as many lines as they need.
fn wrapped(head: &str, items: &[String]) -> Vec<String> {
    let mut lines = vec![head.to_owned()];
    for (number, item) in items.iter().enumerate() {
        let comma = if number + 1 < items.len() { "," } else { "" };
        let fits = |line: &String| line.chars().count() + item.len() + 2 <= COLUMNS;
        if !lines.last().is_some_and(fits) {
            lines.push(" ".repeat(head.len()));
        }
        if let Some(line) = lines.last_mut() {
            let gap = if line.trim() == head.trim() || line.trim().is_empty() { "" } else { " " };
            let _ = write!(line, "{gap}{item}{comma}");
        }
    }
    lines
}

/// A line of blocks, each as high as its number is beside the highest.
fn sparks(numbers: impl Iterator<Item = f64> + Clone) -> String {
    let highest = numbers.clone().fold(1.0, f64::max);
    let top = LEVELS.len() - 1;
    let level = |number: f64| ((number / highest * top as f64).round() as usize).min(top);
    numbers.filter_map(|number| LEVELS.get(level(number))).collect()
}

/// The summary for a person.
pub(super) fn summary(summary: &Summary) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\n{} records went in, {} came out. What follows from what was sent,\n\
         and what came where that differs (expected≠found):\n",
        summary.records_in, summary.records_out
    );
    let head = "tenant  class       sent    stored   transit     ended      live";
    let _ = writeln!(text, "{}", style(head).dim());
    for tally in &summary.tenants {
        let _ = writeln!(
            text,
            "{:<7} {:<8} {:>7} {:>9} {:>9} {:>9} {:>9}",
            tally.tenant,
            tally.class,
            tally.sent,
            both(tally.stored),
            both(tally.transit),
            both(tally.ended),
            both(tally.live)
        );
    }
    let reasons = summary.tombstones.iter();
    let reasons: Vec<_> =
        reasons.map(|(reason, &tally)| format!("{reason} {}", both(tally))).collect();
    let _ = writeln!(text, "\n{}", wrapped("tombstones  ", &reasons).join("\n"));
    let late = summary.lateness;
    let _ = writeln!(
        text,
        "ended by time: {} ms late in the middle, {} ms at p99, {} ms at most\n",
        late.p50_ms, late.p99_ms, late.max_ms
    );
    for check in &summary.checks {
        let sign = if check.held { style("held  ").green() } else { style("BROKEN").red().bold() };
        let _ = writeln!(text, "{sign}  {} ({} checked)", check.rule, check.checked);
        if !check.held {
            let _ =
                writeln!(text, "        {} broke it: {}", check.broken, check.examples.join("; "));
        }
    }
    let last = match summary.held {
        true => style("Every rule held.").green().bold(),
        false => style("NOT every rule held.").red().bold(),
    };
    let _ = writeln!(text, "\n{last}");
    text
}

fn both(tally: Tally) -> String {
    if tally.expected == tally.found {
        tally.found.to_string()
    } else {
        format!("{}≠{}", tally.expected, tally.found)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::cast::cast;

    #[test]
    fn the_picture_has_room_on_a_small_terminal() {
        let cast: Vec<_> =
            cast().into_iter().map(|actor| (actor.tenant.name, actor.says)).collect();
        let length = Duration::from_secs(600);
        let scene = Scene { cast: &cast, http: "127.0.0.1:65535", length };
        let mut stage = Stage::default();
        for number in 0..5 {
            stage.news.push((
                Duration::from_secs(number),
                "no more traffic: what is still live ends in its time",
            ));
        }
        let all = [
            "burned",
            "delivered",
            "ended",
            "expired",
            "opted-out",
            "recalled",
            "removed",
            "undelivered",
        ];
        stage.downstream.reasons = all.map(|reason| (reason.to_owned(), 123_456)).into();
        let speeds = vec![Speed { into: 9_999.0, out: 9_999.0 }; 30];
        let phase = "waiting for the last to end";
        let picture =
            Picture { scene: &scene, stage: &stage, phase, seconds: 999, speeds: &speeds };
        let lines = picture.lines();
        assert!(lines.len() < 24, "{}", lines.len());
        for line in lines {
            assert!(console::measure_text_width(&line) <= COLUMNS, "{line}");
        }
    }

    #[test]
    fn items_go_on_in_the_next_line() {
        let items: Vec<String> = (0..12).map(|number| format!("reason {number}")).collect();
        let lines = wrapped("head  ", &items);
        assert_eq!(lines.len(), 2);
        assert!(
            lines.concat().replace("      ", "").starts_with("head  reason 0, reason 1,"),
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| line.len() <= COLUMNS), "{lines:?}");
    }

    #[test]
    fn the_highest_number_is_the_highest_block() {
        assert_eq!(sparks([0.0, 50.0, 100.0].into_iter()), "▁▅█");
        assert_eq!(sparks([0.0].into_iter()), "▁");
    }
}
