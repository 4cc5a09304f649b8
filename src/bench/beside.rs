//! Something that is done beside a live load, whose contents are told apart: those that came out before it, and those
//! that were under way meanwhile.

use std::thread;
use std::time::Duration;

use anyhow::bail;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::child::Running;
use super::figures;
use super::latency::{DIGITS, quantile_ms};
use super::open_loop::{OpenLoop, Pace};
use crate::pipeline::settings::PipelineSettings;

/// How long the live load goes on afterwards.
const AFTER: Duration = Duration::from_secs(2);

/// Contents of the live load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Live {
    /// Contents that were measured.
    pub contents: u64,
    /// Half of them took at most so many ms.
    pub p50_ms: f64,
    /// 99 %.
    pub p99_ms: f64,
    /// All.
    pub max_ms: f64,
}

impl Live {
    /// What was measured, in a line.
    pub(super) fn line(&self) -> String {
        let Self { contents, p50_ms, p99_ms, max_ms } = self;
        format!("p50 {p50_ms:.0} ms, p99 {p99_ms:.0}, max {max_ms:.0} ({contents} contents)")
    }

    fn of<'c>(contents: impl Iterator<Item = &'c (i64, i64)>) -> anyhow::Result<Self> {
        let mut histogram: Histogram<u64> = Histogram::new(DIGITS)?;
        for (due_ms, out_ms) in contents {
            histogram.record(u64::try_from((out_ms - due_ms) * 1_000).unwrap_or_default())?;
        }
        Ok(Self {
            contents: histogram.len(),
            p50_ms: quantile_ms(&histogram, 0.5),
            p99_ms: quantile_ms(&histogram, 0.99),
            max_ms: quantile_ms(&histogram, 1.0),
        })
    }
}

/// The median of each figure.
pub(super) fn median<T>(rounds: &[T], of: fn(&T) -> Live) -> Live {
    let figure = |figure: fn(&Live) -> f64| figures::median(rounds, |round| figure(&of(round)));
    Live {
        contents: rounds.first().map_or(0, |round| of(round).contents),
        p50_ms: figure(|live| live.p50_ms),
        p99_ms: figure(|live| live.p99_ms),
        max_ms: figure(|live| live.max_ms),
    }
}

/// Runs a live load, measures it for a while, then does something. That is told how to see that nothing more comes out,
/// and says from when to when it was at it (Unix ms). Gives what it came to, and the load before and meanwhile.
pub(super) fn measure<T: Send>(
    pace: Pace<'_>,
    before: Duration,
    settings: &PipelineSettings,
    lethe: &Running,
    act: impl FnOnce(&dyn Fn() -> bool) -> anyhow::Result<(T, [i64; 2])> + Send,
) -> anyhow::Result<(T, [Live; 2])> {
    let quiet = pace.warm_up + before;
    let open_loop = OpenLoop::new(pace);
    // Of each content: when it was due, and when it came out (Unix ms).
    let mut contents: Vec<(i64, i64)> = Vec::new();
    let (done, [from_ms, to_ms]) = thread::scope(|scope| {
        let acting = scope.spawn(|| {
            thread::sleep(quiet);
            let done = act(&|| open_loop.has_ended());
            thread::sleep(AFTER);
            open_loop.end();
            done
        });
        let written = open_loop.run(settings, lethe, &mut |due_ms, took_us| {
            let took_ms = i64::try_from(took_us / 1_000).unwrap_or(i64::MAX / 2);
            contents.push((due_ms, due_ms.saturating_add(took_ms)));
        });
        let Ok(done) = acting.join() else { bail!("what is done beside the load has panicked") };
        written.and(done)
    })?;
    let under_way = |&&(due_ms, out_ms): &&(i64, i64)| out_ms >= from_ms && due_ms < to_ms;
    let before = contents.iter().filter(|(_, out_ms)| *out_ms < from_ms);
    let during = contents.iter().filter(under_way);
    Ok((done, [Live::of(before)?, Live::of(during)?]))
}
