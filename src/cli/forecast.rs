//! `lethe forecast`: what changes would end, counted by the processes before they are made.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::control::{Common, print, print_json};
use super::endpoints::{self, Endpoints};
use super::policy::Files;
use crate::control::safety::Toll;
use crate::control::{Change, ControlTopic};
use crate::error::Failure;
use crate::http::answer::{Counts, Forecasts, OfTenant};

/// So many days ahead are told apart where nobody says how many.
pub(super) const DAYS: usize = 30;

/// Count what the records in files would end if they were written now; nothing is changed
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lethe forecast -f policies/ --endpoints lethe:9644\n  lethe policy \
                        set acme --message-retention 1d --forecast\n\nFiles are those of `lethe policy \
                        apply`; erasure/… and hold/… may be among their keys. Each change verb has \
                        --forecast, too."
)]
pub(super) struct Forecast {
    #[command(flatten)]
    files: Files,

    /// So many days ahead are told apart
    #[arg(long, value_name = "DAYS", default_value_t = DAYS)]
    days: usize,

    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(verb: &Forecast) -> Result<(), Failure> {
    let (desk, changes) = verb.files.open(&verb.common)?;
    let forecasts = of(&changes, verb.days, &verb.endpoints, &desk.topic)?;
    print_all(&forecasts, desk.json)
}

/// Asks every process, and sums up.
pub(super) fn of(
    changes: &[Change],
    days: usize,
    endpoints: &Endpoints,
    topic: &ControlTopic,
) -> Result<Forecasts, Failure> {
    let mut proposed: BTreeMap<&str, Option<Value>> = BTreeMap::new();
    for change in changes {
        let value = change.value.as_deref().map(serde_json::from_str).transpose();
        let value = value.map_err(|error| Failure::Failed(error.to_string()))?;
        proposed.insert(&change.key, value);
    }
    let body = json!({ "changes": proposed, "days": days }).to_string();
    let mut forecasts = Forecasts::default();
    for answer in endpoints.answers("/v1/forecast", Some(body))? {
        forecasts.add(answer);
    }
    endpoints::all_answered(&topic.inputs()?, forecasts.partitions.iter())?;
    Ok(forecasts)
}

/// So many changes are asked about at once: what is one question may be a megabyte long.
const CHANGES_AT_ONCE: usize = 200;

/// What changes would end that would not have ended without them. Where they are too many for one question,
/// what two of them would end counts twice.
pub(super) fn tolls(
    changes: &[Change],
    endpoints: &Endpoints,
    topic: &ControlTopic,
) -> Result<Vec<Toll>, Failure> {
    let mut all: Vec<Toll> = Vec::new();
    for some in changes.chunks(CHANGES_AT_ONCE) {
        for toll in of(some, 0, endpoints, topic)?.tolls() {
            let same = |known: &&mut Toll| known.tenant == toll.tenant && known.class == toll.class;
            match all.iter_mut().find(same) {
                Some(known) => known.ends += toll.ends,
                None => all.push(toll),
            }
        }
    }
    Ok(all)
}

/// Prints a line for each tenant and class that has something.
pub(super) fn print_all(forecasts: &Forecasts, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&forecasts.forecasts);
    }
    let some = forecasts.forecasts.iter().filter(|one| one.as_is.all() > 0);
    let text: String = some.map(line).collect();
    print(if text.is_empty() { "no record is concerned\n" } else { &text })
}

fn line(one: &OfTenant) -> String {
    let OfTenant { tenant, class, as_is, proposed } = one;
    let soon = |counts: &Counts| counts.by_day.iter().sum::<u64>();
    let days = proposed.by_day.len();
    format!(
        "{tenant} {class}: {} end at once (as it is: {}), {} have ended and are kept ({}), {} end \
         within {days} days ({}), {} later or never ({})\n",
        proposed.now,
        as_is.now,
        proposed.kept,
        as_is.kept,
        soon(proposed),
        soon(as_is),
        proposed.later,
        as_is.later,
    )
}
