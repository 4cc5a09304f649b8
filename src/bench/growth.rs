//! How the cost of a record grows with one thing, all else alike.
//!
//! At each point lethe first takes in what tenants and operators said and what lives already, and stops.
//! Then, round by round, a load comes on top, and pass-through and lethe take turns over it: the cost of
//! starting with all that is behind them is in lethe's, that of having got there is not.

use std::path::PathBuf;

use serde::Serialize;

use super::child::{self, Running};
use super::figures::{Comparison, Figures, Floor, Round, line};
use super::load::{Load, load};
use super::messages::{Shape, Size};
use super::pass_through::{self, Ends};
use super::site::Site;
use crate::pipeline::settings::PipelineSettings;

/// So many bytes of content one load has at most.
const CONTENT_BYTES_MAX: u64 = 2 << 30;
/// Of each tenant, so that there is room for overrides.
const CONVERSATIONS: u32 = 2_000;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// Tenants.
    Tenants,
    /// Records that live already, all of them stored.
    Live,
    /// Legal holds.
    Holds,
    /// Bytes of content.
    Bytes,
    /// Partitions.
    Partitions,
    /// Conversations of each tenant with a retention of their own.
    Overrides,
}

impl Over {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Tenants, Self::Live, Self::Holds, Self::Bytes, Self::Partitions, Self::Overrides];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenants => "tenants",
            Self::Live => "live",
            Self::Holds => "holds",
            Self::Bytes => "bytes",
            Self::Partitions => "partitions",
            Self::Overrides => "overrides",
        }
    }

    /// What its axis is called.
    #[must_use]
    pub const fn axis(self) -> &'static str {
        match self {
            Self::Tenants => "tenants",
            Self::Live => "live records",
            Self::Holds => "holds",
            Self::Bytes => "bytes of content",
            Self::Partitions => "partitions",
            Self::Overrides => "conversations of each tenant with a retention of their own",
        }
    }

    /// The points at which it is measured where nobody says otherwise.
    #[must_use]
    pub const fn points(self) -> &'static [u64] {
        match self {
            Self::Tenants => &[1, 10, 100, 1_000, 10_000, 100_000],
            Self::Live => &[1_000_000, 3_000_000, 10_000_000],
            Self::Holds => &[0, 100, 1_000, 10_000],
            Self::Bytes => &[64, 512, 4_096, 65_536],
            Self::Partitions => &[1, 4, 16, 64],
            Self::Overrides => &[0, 10, 100, 1_000],
        }
    }
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Growth {
    /// Brokers, workers, commit interval and librdkafka's properties.
    pub settings: PipelineSettings,
    /// What grows.
    pub over: Over,
    /// Where it is measured.
    pub points: Vec<u64>,
    /// Messages of a load; fewer where they would be too many bytes.
    pub messages: u64,
    /// Rounds at each point.
    pub rounds: u32,
    /// Where data directories are made.
    pub scratch: PathBuf,
}

/// What was measured at a point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// How much it is.
    pub at: u64,
    /// The cost of a record.
    pub measured: Comparison,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grown {
    /// What grows.
    pub over: Over,
    /// In their order.
    pub points: Vec<Point>,
}

/// Measures point by point; `told` hears of each step.
///
/// # Errors
/// The broker refuses something, or a child has not done its work.
pub fn growth(of: &Growth, told: &mut dyn FnMut(&str)) -> anyhow::Result<Grown> {
    let mut points = Vec::new();
    for &at in &of.points {
        let partitions = if of.over == Over::Partitions { u32::try_from(at)? } else { 4 };
        let site = Site::new(&of.settings, partitions);
        let data = tempfile::Builder::new().prefix("bench-").tempdir_in(&of.scratch)?;
        let mut bench = Bench {
            site,
            data: data.path().join("data"),
            shape: shape(of, at)?,
            ends: Ends::new(),
        };
        bench.prepare(if of.over == Over::Live { at } else { 0 })?;
        told(&format!("{} {at}", of.over.axis()));
        let mut rounds = Vec::new();
        for number in 1..=of.rounds {
            let round = bench.round(number)?;
            told(&format!(
                "  pass-through {}\n  lethe        {}",
                line(&round.floor),
                line(&round.lethe)
            ));
            rounds.push(round);
        }
        let measured = Comparison::new(Floor::PassThrough, of.settings.workers, rounds);
        points.push(Point { at, measured });
    }
    Ok(Grown { over: of.over, points })
}

impl Grown {
    /// What was measured, for a person.
    #[must_use]
    pub fn rendered(&self) -> String {
        let line = |point: &Point| {
            let Round { floor, lethe } = point.measured.median;
            format!(
                "{:>10} {}: pass-through {:6.2} µs, lethe {:6.2} µs a record, ratio {:.2}, {:.0} MiB\n",
                point.at,
                self.over.axis(),
                floor.cpu_us_a_record,
                lethe.cpu_us_a_record,
                point.measured.cpu_ratio,
                lethe.memory_mib
            )
        };
        self.points.iter().map(line).collect()
    }
}

/// The load at a point.
fn shape(of: &Growth, at: u64) -> anyhow::Result<Shape> {
    let mut shape =
        Shape { messages: of.messages, conversations: CONVERSATIONS, ..Shape::default() };
    match of.over {
        Over::Tenants => {
            shape.tenants = u32::try_from(at)?;
            // One alone opts in.
            shape.opted_in = (shape.tenants * 7).div_ceil(10);
        }
        Over::Live | Over::Partitions => {}
        Over::Holds => shape.holds = u32::try_from(at)?,
        Over::Bytes => {
            shape.size = Size::Bytes(u32::try_from(at)?);
            shape.messages = of.messages.min(CONTENT_BYTES_MAX / at.max(1));
        }
        Over::Overrides => shape.overrides = u32::try_from(at)?,
    }
    Ok(shape)
}

struct Bench {
    site: Site,
    data: PathBuf,
    /// The next load.
    shape: Shape,
    /// What has been processed, and up to where there is input.
    ends: Ends,
}

impl Bench {
    /// Has lethe take in what was said, and so many records that go on living.
    fn prepare(&mut self, live: u64) -> anyhow::Result<()> {
        self.site.make_topics(0)?;
        // At least one, so that it is seen when everything that was said has been taken in.
        let living = Shape { messages: live.max(1), delivered: false, ..self.shape.clone() };
        self.write(&living, true)?;
        self.shape.first += living.messages;
        let settings = self.site.settings(0);
        self.ends = pass_through::ends(&settings, &settings.topics.messages)?;
        let mut lethe = Running::start(self.site.run(0, "127.0.0.1:0", &self.data)?)?;
        child::wait_until_committed(&lethe, &settings, &self.ends)?;
        lethe.wait_until_at_rest();
        lethe.stop()?;
        Ok(())
    }

    /// A load on top, over which both take turns.
    fn round(&mut self, number: u32) -> anyhow::Result<Round> {
        let settings = self.site.settings(0);
        let load = self.shape.clone();
        self.write(&load, false)?;
        self.shape.first += load.messages;
        let now = pass_through::ends(&settings, &settings.topics.messages)?;
        let before = std::mem::take(&mut self.ends);
        let ends: Ends = now
            .iter()
            .map(|(&partition, &(start, end))| {
                let start = before.get(&partition).map_or(start, |&(_, processed)| processed);
                (partition, (start, end))
            })
            .collect();
        self.ends = now;
        Ok(Round { floor: self.pass_through(number, &ends)?, lethe: self.lethe(&ends)? })
    }

    /// Writes a load, at first with what tenants and operators say.
    fn write(&self, shape: &Shape, is_first: bool) -> anyhow::Result<()> {
        let settings = self.site.settings(0);
        load(&Load {
            brokers: settings.brokers.clone(),
            topic: settings.topics.messages.clone(),
            control: is_first.then(|| settings.topics.control.clone()),
            shape: shape.clone(),
            rate: None,
        })?;
        Ok(())
    }

    fn pass_through(&self, round: u32, ends: &Ends) -> anyhow::Result<Figures> {
        self.site.make_topics(round)?;
        let mut settings = self.site.settings(round);
        settings.group = format!("{}-pass-through", settings.group);
        let mut command = self.site.program(round)?;
        command.args(["bench", "pass-through", "--group", &settings.group]);
        command.args(["--output", &settings.topics.store_messages]);
        let from = ends.iter().map(|(partition, (start, _))| format!("{partition}:{start}"));
        command.args(["--from", &from.collect::<Vec<_>>().join(",")]);
        child::measure(command, &settings, ends)
    }

    fn lethe(&self, ends: &Ends) -> anyhow::Result<Figures> {
        let command = self.site.run(0, "127.0.0.1:0", &self.data)?;
        child::measure(command, &self.site.settings(0), ends)
    }
}
