//! `lethe rebuild`: puts ledgers together whose changelog is lost.

use std::io::IsTerminal as _;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::by::By;
use super::control::{print, print_json};
use super::settings::Place;
use super::{run, topics};
use crate::error::Failure;
use crate::pipeline::rebuild::{self, Asked, Failed, Progress, Report, Unknown};

/// Put lethe's memory together from the outputs, if its changelog is lost altogether; with lethe stopped
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lethe rebuild --brokers kafka-1:9092 --dry-run    # what would be found\n  lethe \
                        rebuild --brokers kafka-1:9092 --data-dir /var/lib/lethe\n\nStop every lethe of the \
                        group and remove their data directories first. What the outputs do not know of the input \
                        before the group's positions is over; what lies behind is processed as usual. \
                        docs/operating.md says what cannot be known, and how the input tells some of it again."
)]
pub(super) struct Rebuild {
    #[command(flatten)]
    place: Place,

    /// Consumer group whose lethe has lost its changelog [env: LETHE_GROUP] [default: lethe]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// Where there is room to work, as much as for the state twice [env: LETHE_DATA_DIR] [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// Every partition, not only those whose changelog is lost
    #[arg(long)]
    all: bool,

    /// Tell what would be found, and write nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    by: By,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed.to_string())
    }
}

pub(super) fn run(verb: &Rebuild) -> Result<(), Failure> {
    let settings =
        verb.place.load([("group", verb.group.clone()), ("data_dir", verb.data_dir.clone())])?;
    let admin = topics::admin(&settings)?;
    if !verb.dry_run {
        // A changelog that is gone is made anew.
        super::runtime()?.block_on(run::prepare(&settings, &admin))?;
    }
    let asked = Asked { all: verb.all, dry_run: verb.dry_run, author: verb.by.author() };
    let mut shown = Shown::default();
    let report = rebuild::rebuild(settings.pipeline, asked, &mut |progress| shown.see(progress))?;
    shown.end();
    if verb.json { print_json(&report) } else { print(&text(&report)) }
}

/// What a person at a terminal sees meanwhile.
#[derive(Default)]
struct Shown {
    bar: Option<ProgressBar>,
    waits: bool,
}

impl Shown {
    fn see(&mut self, progress: Progress) {
        match progress {
            Progress::Waiting if !std::mem::replace(&mut self.waits, true) => {
                eprintln!("lethe: waiting until nobody is in the group any more");
            }
            Progress::Begun(offsets) if std::io::stderr().is_terminal() => {
                self.bar = Some(ProgressBar::new(offsets).with_style(style()));
            }
            Progress::Read(offsets) => {
                if let Some(bar) = &self.bar {
                    bar.inc(offsets);
                }
            }
            Progress::Written(bytes) => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("{} KiB of a ledger written", bytes >> 10));
                }
            }
            Progress::Waiting | Progress::Begun(_) => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    let template = "rebuilding {bar:30} {pos}/{len} output records, {per_sec}, {eta} left {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn text(report: &Report) -> String {
    let sum = report.sum();
    let rebuilt = if report.dry_run { "would be rebuilt" } else { "rebuilt" };
    let mut text = format!(
        "{} partitions {rebuilt}: {} stored, {} in transit, {} versions beside them, {} ended\n",
        report.partitions.len(),
        sum.stored,
        sum.transit,
        sum.versions,
        sum.ended
    );
    if sum.foreign > 0 {
        text.push_str(&format!("{} records on the outputs are none of lethe's\n", sum.foreign));
    }
    text.push_str("what cannot be known:\n");
    for Unknown { what, so, records } in &report.unknown {
        let concerns = records.map(|records| format!(" (at most {records})")).unwrap_or_default();
        text.push_str(&format!("  {what}{concerns}: {so}\n"));
    }
    text
}
