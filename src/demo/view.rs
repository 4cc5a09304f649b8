//! What the audience sees: a view that refreshes on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use console::Term;
use lethe_engine::Storage;

use super::Stage;
use super::picture::{self, Picture};

/// How often the view refreshes.
const REFRESH: Duration = Duration::from_millis(250);
/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(2);
/// So many speeds are kept, a second each.
const SPEEDS_MAX: usize = 30;
/// How long a speed is measured.
const SPEED_WITHIN: Duration = Duration::from_secs(1);

/// What the view shows of the play itself.
pub(super) struct Scene<'s> {
    /// Tenants and what they chose.
    pub(super) cast: &'s [(String, &'static str)],
    /// Where HTTP listens.
    pub(super) http: &'s str,
    pub(super) length: Duration,
}

/// Records a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Speed {
    pub(super) into: f64,
    pub(super) out: f64,
}

/// Shows it.
pub(super) struct View {
    /// None: there is no terminal.
    terminal: Option<Term>,
    started: Instant,
    shown: Option<Instant>,
    /// Lines of the last picture, which the next one replaces.
    lines: usize,
    speeds: VecDeque<Speed>,
    /// Records in and out when the last speed was measured, and when that was.
    before: (u64, u64),
    measured: Instant,
    /// News that were told.
    news: usize,
}

impl View {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            terminal: io::stdout().is_terminal().then(Term::stdout),
            started: now,
            shown: None,
            lines: 0,
            speeds: VecDeque::new(),
            before: (0, 0),
            measured: now,
            news: 0,
        }
    }

    /// Whether it is time for the next picture.
    pub(super) fn is_due(&self) -> bool {
        let every = if self.terminal.is_some() { REFRESH } else { LINE };
        self.shown.is_none_or(|shown| shown.elapsed() >= every)
    }

    /// Shows how things are.
    pub(super) fn show(&mut self, scene: &Scene<'_>, stage: &Stage, phase: &str) -> io::Result<()> {
        self.measure((stage.books.records, stage.downstream.records));
        let is_first = self.shown.replace(Instant::now()).is_none();
        let Some(terminal) = self.terminal.clone() else {
            return self.tell(scene, stage, phase, is_first);
        };
        let picture = Picture {
            scene,
            stage,
            phase,
            seconds: self.started.elapsed().as_secs(),
            speeds: self.speeds.make_contiguous(),
        };
        let lines = picture.lines();
        self.draw(&terminal, &lines)
    }

    fn measure(&mut self, now: (u64, u64)) {
        let past = self.measured.elapsed();
        if past < SPEED_WITHIN {
            return;
        }
        let a_second = |now: u64, before: u64| (now - before) as f64 / past.as_secs_f64();
        let (into, out) = (a_second(now.0, self.before.0), a_second(now.1, self.before.1));
        if self.speeds.len() >= SPEEDS_MAX {
            self.speeds.pop_front();
        }
        self.speeds.push_back(Speed { into, out });
        (self.before, self.measured) = (now, Instant::now());
    }

    /// Draws over the last picture, line by line; what the terminal has no room for is left out.
    fn draw(&mut self, terminal: &Term, lines: &[String]) -> io::Result<()> {
        let (rows, columns) = terminal.size();
        let mut text = String::new();
        if self.lines > 0 {
            text.push_str(&format!("\x1b[{}A", self.lines));
        }
        let shown = lines.iter().take(usize::from(rows).saturating_sub(1));
        self.lines = shown.len();
        for line in shown {
            text.push_str(&console::truncate_str(line, usize::from(columns), "…"));
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    fn tell(
        &mut self,
        scene: &Scene<'_>,
        stage: &Stage,
        phase: &str,
        is_first: bool,
    ) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if is_first {
            writeln!(out, "lethe demo: status page http://{}/", scene.http)?;
        }
        for (at, says) in stage.news.iter().skip(self.news) {
            writeln!(out, "{:>4} s  {says}", at.as_secs())?;
        }
        self.news = stage.news.len();
        let live = |storage: Storage| -> u64 {
            let live = stage.downstream.live.iter();
            live.filter(|((_, _, of), _)| *of == storage).map(|(_, count)| count).sum()
        };
        let Speed { into, out: speed } = self.speeds.back().copied().unwrap_or_default();
        let reasons = picture::reasons(stage);
        let tombstones =
            if reasons.is_empty() { "none yet".to_owned() } else { reasons.join(", ") };
        writeln!(
            out,
            "{:>4} s  {phase}: in {into:.0}/s, out {speed:.0}/s; live: {} stored, {} in transit; \
             tombstones: {tombstones}",
            self.started.elapsed().as_secs(),
            live(Storage::Stored),
            live(Storage::Transit),
        )?;
        out.flush()
    }
}
