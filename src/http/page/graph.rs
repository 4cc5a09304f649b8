//! A graph of the last minutes: its lines as paths, and the same in words and numbers for who does not
//! see them.

use std::fmt::Write as _;

use serde::Serialize;

use super::text;
use crate::telemetry::history::{SAMPLE_EVERY, SAMPLES_MAX, Sample};

/// The plot's size, in the units of its paths.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 160.0;
/// What is shown.
const WINDOW_MS: i64 = SAMPLE_EVERY.as_millis() as i64 * SAMPLES_MAX as i64;
/// Samples further apart are not joined: the process stood still meanwhile.
const GAP_MS: i64 = 5 * SAMPLE_EVERY.as_millis() as i64;
const MINUTE_MS: i64 = 60_000;
/// A rate is taken over so many samples: transactions come in portions.
const SMOOTH_SAMPLES: usize = 5;

/// A figure over time.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    /// By time (Unix ms), the oldest first.
    pub(super) points: Vec<(i64, f64)>,
}

impl Figure {
    /// How fast something that is counted grows (a second).
    pub(super) fn rate(name: &'static str, samples: &[Sample], of: fn(&Sample) -> f64) -> Self {
        let befores = std::iter::repeat_n(samples.first(), SMOOTH_SAMPLES - 1);
        let befores = befores.chain(samples.iter().map(Some));
        let point = |(before, after): (Option<&Sample>, &Sample)| {
            let past_ms = after.at_ms - before?.at_ms;
            let grown = (of(after) - of(before?)).max(0.0);
            (past_ms > 0).then(|| (after.at_ms, grown * 1_000.0 / past_ms as f64))
        };
        Self { name, points: befores.zip(samples).filter_map(point).collect() }
    }

    /// Something that is measured.
    pub(super) fn gauge(name: &'static str, samples: &[Sample], of: fn(&Sample) -> f64) -> Self {
        Self { name, points: samples.iter().map(|sample| (sample.at_ms, of(sample))).collect() }
    }

    fn max(&self) -> f64 {
        self.points.iter().map(|&(_, value)| value).fold(0.0, f64::max)
    }

    fn now(&self) -> f64 {
        self.points.last().map_or(0.0, |&(_, value)| value)
    }
}

/// How a graph's values are written, and put together for a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Records a second; of a minute the mean.
    Rate,
    /// Seconds; of a minute the longest.
    Span,
}

impl Measure {
    fn write(self, value: f64) -> String {
        match self {
            Self::Rate => format!("{}/s", text::rate(value)),
            Self::Span => text::span(value),
        }
    }

    fn tick(self, value: f64) -> String {
        match self {
            Self::Rate => text::tick(value),
            Self::Span => format!("{}\u{a0}s", text::tick(value)),
        }
    }

    fn of_minute(self, values: &[f64]) -> Option<f64> {
        let count = u32::try_from(values.len()).ok().filter(|&count| count > 0)?;
        Some(match self {
            Self::Rate => values.iter().sum::<f64>() / f64::from(count),
            Self::Span => values.iter().copied().fold(0.0, f64::max),
        })
    }
}

/// What a graph is made of.
pub(super) struct Sketch {
    pub(super) figures: Vec<Figure>,
    pub(super) measure: Measure,
    /// A line that the values are to stay below.
    pub(super) goal: Option<f64>,
    pub(super) now_ms: i64,
}

/// A graph as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct Graph {
    pub(super) lines: Vec<Line>,
    /// The marks of the vertical axis, from the top.
    pub(super) ticks: Vec<String>,
    pub(super) goal: Option<Goal>,
    /// All of it in words.
    pub(super) summary: String,
    /// A row a minute, the latest first.
    pub(super) minutes: Vec<Minute>,
}

/// A line that the values are to stay below.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Goal {
    /// How high it lies.
    pub(super) y: String,
    pub(super) value: String,
}

/// One of its lines.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) now: String,
    pub(super) path: String,
    /// Where the points are, and what they say: `x:text;…`.
    pub(super) points: String,
}

/// One of the minutes.
#[derive(Debug, Serialize)]
pub(super) struct Minute {
    pub(super) label: String,
    pub(super) values: Vec<String>,
}

impl Sketch {
    pub(super) fn draw(&self) -> Graph {
        let highest = self.figures.iter().map(Figure::max).fold(0.0, f64::max);
        let top = round_up(highest.max(self.goal.unwrap_or(0.0) * 1.2));
        let line = |figure: &Figure| Line {
            name: figure.name,
            now: self.measure.write(figure.now()),
            path: self.path(figure, top),
            points: self.points(figure),
        };
        let goal = self
            .goal
            .map(|goal| Goal { y: format!("{:.1}", y(goal, top)), value: self.measure.tick(goal) });
        Graph {
            lines: self.figures.iter().map(line).collect(),
            ticks: [top, top / 2.0, 0.0].map(|value| self.measure.tick(value)).into(),
            goal,
            summary: self.summary(),
            minutes: self.minutes(),
        }
    }

    fn x(&self, at_ms: i64) -> f64 {
        let from_ms = self.now_ms - WINDOW_MS;
        ((at_ms - from_ms) as f64 / WINDOW_MS as f64 * WIDTH).clamp(0.0, WIDTH)
    }

    fn path(&self, figure: &Figure, top: f64) -> String {
        let (mut path, mut before_ms) = (String::new(), i64::MIN);
        for &(at_ms, value) in &figure.points {
            let pen = if at_ms.saturating_sub(before_ms) > GAP_MS { 'M' } else { 'L' };
            // Writing to a String cannot fail.
            let _ = write!(path, "{pen}{:.1} {:.1}", self.x(at_ms), y(value, top));
            before_ms = at_ms;
        }
        path
    }

    fn points(&self, figure: &Figure) -> String {
        let mut points = String::new();
        for &(at_ms, value) in &figure.points {
            // Writing to a String cannot fail.
            let _ = write!(points, "{:.1}:{};", self.x(at_ms), self.measure.write(value));
        }
        points
    }

    fn summary(&self) -> String {
        let one = |figure: &Figure| {
            let (now, most) = (figure.now(), figure.max());
            format!(
                "{}: {} now, {} at most",
                figure.name,
                self.measure.write(now),
                self.measure.write(most)
            )
        };
        let all: Vec<String> = self.figures.iter().map(one).collect();
        format!("In the last 10 minutes. {}.", all.join("; "))
    }

    fn minutes(&self) -> Vec<Minute> {
        let minute = |ago: i64| {
            let of = |figure: &Figure| {
                let within = figure
                    .points
                    .iter()
                    .filter(|&&(at_ms, _)| (self.now_ms - at_ms).div_euclid(MINUTE_MS) == ago);
                self.measure.of_minute(&within.map(|&(_, value)| value).collect::<Vec<_>>())
            };
            let values: Vec<Option<f64>> = self.figures.iter().map(of).collect();
            values.iter().any(Option::is_some).then(|| Minute {
                label: if ago == 0 { "this minute".to_owned() } else { format!("{ago} min ago") },
                values: values
                    .into_iter()
                    .map(|value| value.map_or_else(String::new, |value| self.measure.write(value)))
                    .collect(),
            })
        };
        (0..WINDOW_MS / MINUTE_MS).filter_map(minute).collect()
    }
}

fn y(value: f64, top: f64) -> f64 {
    HEIGHT - value / top * HEIGHT
}

/// The next number that an axis ends well with.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let fits = steps.into_iter().map(|step| step * power).find(|&step| step >= value);
    fits.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Sample> {
        let sample = |at: i64| Sample {
            at_ms: at * 2_000,
            records: at as f64 * 200.0,
            expiry_lag_s: if at == 1 { 3.0 } else { 0.2 },
            ..Sample::default()
        };
        (0..4).map(sample).collect()
    }

    #[test]
    fn a_rate_is_drawn_from_the_right_edge() {
        let figures = vec![Figure::rate("in", &samples(), |sample| sample.records)];
        let graph = Sketch { figures, measure: Measure::Rate, goal: None, now_ms: 6_000 }.draw();
        let line = graph.lines.first().map(|line| (line.now.as_str(), line.path.as_str()));
        assert_eq!(line, Some(("100/s", "M596.0 0.0L598.0 0.0L600.0 0.0")));
        assert_eq!(graph.ticks, ["100", "50", "0"]);
        assert_eq!(graph.summary, "In the last 10 minutes. in: 100/s now, 100/s at most.");
    }

    #[test]
    fn a_minute_of_a_span_is_its_longest_and_the_goal_is_always_in_sight() {
        let figures = vec![Figure::gauge("lag", &samples(), |sample| sample.expiry_lag_s)];
        let sketch = Sketch { figures, measure: Measure::Span, goal: Some(1.0), now_ms: 61_000 };
        let graph = sketch.draw();
        let minutes: Vec<_> = graph.minutes.iter().map(|minute| minute.values.join("")).collect();
        assert_eq!(minutes, ["3.0\u{a0}s", "0.2\u{a0}s"]);
        let goal = Goal { y: "106.7".to_owned(), value: "1\u{a0}s".to_owned() };
        assert_eq!(graph.goal, Some(goal));
    }

    #[test]
    fn what_lies_far_apart_is_not_joined() {
        let mut samples = samples();
        samples.push(Sample { at_ms: 60_000, ..Sample::default() });
        let figures = vec![Figure::gauge("lag", &samples, |sample| sample.expiry_lag_s)];
        let graph = Sketch { figures, measure: Measure::Span, goal: None, now_ms: 60_000 }.draw();
        let pens = graph.lines.first().map(|line| line.path.matches('M').count());
        assert_eq!(pens, Some(2));
    }

    #[test]
    fn without_samples_there_is_an_empty_graph() {
        let figures = vec![Figure::rate("in", &[], |sample| sample.records)];
        let graph = Sketch { figures, measure: Measure::Rate, goal: None, now_ms: 0 }.draw();
        assert!(graph.minutes.is_empty() && graph.lines.iter().all(|line| line.path.is_empty()));
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(
            [0.0, 0.9, 1.0, 1.2, 740.0, 12_345.0].map(round_up),
            [1.0, 1.0, 1.0, 1.5, 800.0, 15_000.0]
        );
    }
}
