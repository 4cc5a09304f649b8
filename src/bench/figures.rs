//! What was measured, and what follows from it.

use std::time::Duration;

use serde::Serialize;

/// One run of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Input records.
    pub records: i64,
    /// CPU seconds, of user and system, from start to stop.
    pub cpu_seconds: f64,
    /// CPU time of one record in µs.
    pub cpu_us_a_record: f64,
    /// Seconds from start to the last commit.
    pub seconds: f64,
    /// Records a second, from the first commit that was seen to the last.
    pub records_a_second: f64,
    /// Largest resident memory in MiB.
    pub memory_mib: f64,
}

impl Figures {
    pub(super) fn new(
        records: i64,
        cpu: Duration,
        seconds: f64,
        records_a_second: f64,
        memory_bytes: u64,
    ) -> Self {
        let (count, cpu_seconds) = (records.max(1) as f64, cpu.as_secs_f64());
        Self {
            records,
            cpu_seconds,
            cpu_us_a_record: cpu_seconds * 1e6 / count,
            seconds,
            records_a_second,
            memory_mib: memory_bytes as f64 / f64::from(1 << 20),
        }
    }

    /// The median of each figure.
    fn median(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(all, figure);
        Self {
            records: all.first().map_or(0, |first| first.records),
            cpu_seconds: of(|figures| figures.cpu_seconds),
            cpu_us_a_record: of(|figures| figures.cpu_us_a_record),
            seconds: of(|figures| figures.seconds),
            records_a_second: of(|figures| figures.records_a_second),
            memory_mib: of(|figures| figures.memory_mib),
        }
    }
}

/// The median of a figure; 0 of none.
pub(super) fn median<T>(all: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let mut figures: Vec<f64> = all.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures.len().saturating_sub(1) / 2, figures.len() / 2);
    let at = |at: usize| figures.get(at).copied().unwrap_or_default();
    (at(low) + at(high)) / 2.0
}

/// Figures in a line.
pub(super) fn line(figures: &Figures) -> String {
    format!(
        "{:6.2} µs a record, {:8.0} records/s, {:6.1} s of CPU in {:6.1} s, {:5.0} MiB",
        figures.cpu_us_a_record,
        figures.records_a_second,
        figures.cpu_seconds,
        figures.seconds,
        figures.memory_mib
    )
}

/// The least that the same work can cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Floor {
    /// The input is consumed and the same bytes are produced with two headers, in transactions.
    PassThrough,
    /// The same tombstones are produced in transactions.
    Nulls,
}

impl Floor {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PassThrough => "pass-through",
            Self::Nulls => "nulls",
        }
    }
}

/// The floor and lethe, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Round {
    /// The floor.
    pub floor: Figures,
    /// lethe.
    pub lethe: Figures,
}

/// All rounds, with their medians and the ratio of these.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What the floor is.
    pub floor_is: Floor,
    /// Workers of either program.
    pub workers: usize,
    /// In their order.
    pub rounds: Vec<Round>,
    /// The median of each figure.
    pub median: Round,
    /// lethe's CPU time of a record, as a multiple of the floor's.
    pub cpu_ratio: f64,
    /// lethe's records a second, as a multiple of the floor's.
    pub speed_ratio: f64,
}

impl Comparison {
    pub(super) fn new(floor_is: Floor, workers: usize, rounds: Vec<Round>) -> Self {
        let of = |figures: fn(&Round) -> Figures| {
            Figures::median(&rounds.iter().map(figures).collect::<Vec<_>>())
        };
        let median = Round { floor: of(|round| round.floor), lethe: of(|round| round.lethe) };
        let cpu_ratio = median.lethe.cpu_us_a_record / median.floor.cpu_us_a_record;
        let speed_ratio = median.lethe.records_a_second / median.floor.records_a_second;
        Self { floor_is, workers, rounds, median, cpu_ratio, speed_ratio }
    }

    /// What was measured, for a person.
    #[must_use]
    pub fn rendered(&self) -> String {
        let floor = self.floor_is.name();
        format!(
            "median:  {floor:<12} {}\n         {:<12} {}\n\nlethe takes {:.2} × the CPU of the \
             {floor}, at {:.2} × its speed, with {} workers each.\n",
            line(&self.median.floor),
            "lethe",
            line(&self.median.lethe),
            self.cpu_ratio,
            self.speed_ratio,
            self.workers
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_medians() {
        let figures =
            |cpu_s| Figures::new(1_000_000, Duration::from_secs(cpu_s), 2.0, 1e6, 64 << 20);
        let round = |floor, lethe| Round { floor: figures(floor), lethe: figures(lethe) };
        let rounds = vec![round(2, 9), round(4, 5), round(3, 6)];
        let comparison = Comparison::new(Floor::PassThrough, 2, rounds);
        assert_eq!(comparison.median.lethe.cpu_us_a_record, 6.0);
        assert_eq!((comparison.cpu_ratio, comparison.speed_ratio), (2.0, 1.0));
        assert_eq!(comparison.median.lethe.memory_mib, 64.0);
    }
}
