//! What the audience sees: a view that refreshes on a terminal, plain lines elsewhere.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use lethe_engine::{Class, Storage};

use super::Stage;
use super::proof::{Summary, Tally};

/// How often the view refreshes.
const REFRESH: Duration = Duration::from_millis(250);
/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(2);
/// So many news are shown.
const NEWS_SHOWN: usize = 3;

/// What the view shows of the play itself.
pub(super) struct Scene<'s> {
    /// Tenants and what they chose.
    pub(super) cast: &'s [(String, &'static str)],
    /// Where HTTP listens.
    pub(super) http: &'s str,
    pub(super) length: Duration,
}

/// Shows it.
pub(super) struct View {
    terminal: bool,
    started: Instant,
    shown: Option<Instant>,
    /// Lines of the last picture, which the next one replaces.
    lines: usize,
    /// Records in and out as of the last picture.
    before: (u64, u64),
    news: usize,
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            started: Instant::now(),
            shown: None,
            lines: 0,
            before: (0, 0),
            news: 0,
        }
    }

    /// Whether it is time for the next picture.
    pub(super) fn is_due(&self) -> bool {
        let every = if self.terminal { REFRESH } else { LINE };
        self.shown.is_none_or(|shown| shown.elapsed() >= every)
    }

    /// Shows how things are.
    pub(super) fn show(&mut self, scene: &Scene<'_>, stage: &Stage, phase: &str) -> io::Result<()> {
        let now = (stage.books.records, stage.downstream.records);
        let past_s = self.shown.map_or(1.0, |shown| shown.elapsed().as_secs_f64());
        let a_second = |now: u64, before: u64| (now - before) as f64 / past_s;
        let speed = (a_second(now.0, self.before.0), a_second(now.1, self.before.1));
        (self.before, self.shown) = (now, Some(Instant::now()));
        if self.terminal {
            let picture = self.picture(scene, stage, phase, speed);
            self.draw(&picture)
        } else {
            self.lines_of(stage, phase, speed)
        }
    }

    fn picture(
        &self,
        scene: &Scene<'_>,
        stage: &Stage,
        phase: &str,
        (into, out): (f64, f64),
    ) -> String {
        let downstream = &stage.downstream;
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "lethe demo: {phase} · {} s, traffic for {} s · http://{}/ · ctrl-C ends it\n",
            self.started.elapsed().as_secs(),
            scene.length.as_secs(),
            scene.http
        );
        let _ = writeln!(
            text,
            "in {into:>6.0}/s   out {out:>6.0}/s   last expiry {:.1} s late   dead letters {}\n",
            downstream.late_ms.max(0) as f64 / 1_000.0,
            downstream.dead_letters
        );
        let _ = writeln!(
            text,
            "live now                               ── in store ─────────── ── in transit ─"
        );
        let _ = writeln!(
            text,
            "tenant  chose                            message profile config message profile"
        );
        for (tenant, says) in scene.cast {
            let live = |class, storage| {
                downstream.live.get(&(tenant.clone(), class, storage)).copied().unwrap_or(0)
            };
            let _ = writeln!(
                text,
                "{tenant:<7} {says:<34} {:>6} {:>7} {:>6} {:>7} {:>7}",
                live(Class::Message, Storage::Stored),
                live(Class::Profile, Storage::Stored),
                live(Class::Config, Storage::Stored),
                live(Class::Message, Storage::Transit),
                live(Class::Profile, Storage::Transit),
            );
        }
        let _ = writeln!(text, "\ntombstones  {}\n", reasons(stage));
        for (at, says) in stage.news.iter().rev().take(NEWS_SHOWN).rev() {
            let _ = writeln!(text, "{:>4} s  {says}", at.as_secs());
        }
        text
    }

    /// Draws over the last picture.
    fn draw(&mut self, picture: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.lines > 0 {
            write!(out, "\x1b[{}A\x1b[J", self.lines)?;
        }
        write!(out, "{picture}")?;
        self.lines = picture.lines().count();
        out.flush()
    }

    fn lines_of(&mut self, stage: &Stage, phase: &str, (into, out): (f64, f64)) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        for (at, says) in stage.news.iter().skip(self.news) {
            writeln!(stdout, "{:>4} s  {says}", at.as_secs())?;
        }
        self.news = stage.news.len();
        let live = |storage: Storage| -> u64 {
            let live = stage.downstream.live.iter();
            live.filter(|((_, _, of), _)| *of == storage).map(|(_, count)| count).sum()
        };
        writeln!(
            stdout,
            "{:>4} s  {phase}: in {into:.0}/s, out {out:.0}/s; live: {} stored, {} in transit; \
             tombstones: {}",
            self.started.elapsed().as_secs(),
            live(Storage::Stored),
            live(Storage::Transit),
            reasons(stage)
        )?;
        stdout.flush()
    }
}

fn reasons(stage: &Stage) -> String {
    let reasons: Vec<_> = stage
        .downstream
        .reasons
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if reasons.is_empty() { "none yet".to_owned() } else { reasons.join(", ") }
}

/// The summary for a person.
pub(super) fn summary(summary: &Summary) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\n{} records went in, {} came out. What follows from what was sent, and (where it differs) \
         what came:\n",
        summary.records_in, summary.records_out
    );
    let _ = writeln!(text, "tenant  class       sent    stored   transit     ended      live");
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
    let reasons: Vec<_> = summary
        .tombstones
        .iter()
        .map(|(reason, &tally)| format!("{reason} {}", both(tally)))
        .collect();
    let _ = writeln!(text, "\ntombstones: {}", reasons.join(", "));
    let late = summary.lateness;
    let _ = writeln!(
        text,
        "ended by time: {} ms late in the middle, {} ms at p99, {} ms at most\n",
        late.p50_ms, late.p99_ms, late.max_ms
    );
    for check in &summary.checks {
        let sign = if check.held { "held  " } else { "BROKEN" };
        let _ = writeln!(text, "{sign}  {} ({} checked)", check.rule, check.checked);
        if !check.held {
            let _ =
                writeln!(text, "        {} broke it: {}", check.broken, check.examples.join("; "));
        }
    }
    let last = if summary.held { "Every rule held." } else { "NOT every rule held." };
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
