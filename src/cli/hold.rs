//! `lethe hold`: legal holds.

use clap::{Args, Subcommand};

use super::control::{Common, How, Scope, Withdraw};
use crate::control::key::Kind;
use crate::control::value;
use crate::error::Failure;

/// Place, release or show legal holds: what they cover is not deleted
#[derive(Debug, Subcommand)]
pub(super) enum Hold {
    /// Place a hold
    #[command(
        after_help = "Examples:\n  lethe hold place case-7 --tenant acme --user ada --reason \
                            'court order 7'\n  lethe hold place stop --tenant '*'    # the emergency \
                            stop: no tombstone at all"
    )]
    Place(Place),
    /// Release a hold: what has ended under it goes, unless something else keeps it
    #[command(after_help = "Example:\n  lethe hold release case-7")]
    Release(Withdraw),
    /// Show every hold
    #[command(after_help = "Example:\n  lethe hold list --json")]
    List(Common),
}

#[derive(Args, Debug)]
pub(super) struct Place {
    /// The hold's name
    id: String,

    #[command(flatten)]
    scope: Scope,

    /// What was sent from then on (RFC 3339)
    #[arg(long, value_name = "TIME")]
    from: Option<String>,

    /// What was sent until then (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Why; shown to whoever asks
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Replace a hold of the same name that says something else
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    how: How,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(verb: &Hold) -> Result<(), Failure> {
    match verb {
        Hold::Place(asked) => place(asked),
        Hold::Release(asked) => asked.run(Kind::Hold),
        Hold::List(common) => common.open()?.list(&[Kind::Hold.prefix()]),
    }
}

fn place(asked: &Place) -> Result<(), Failure> {
    let desk = asked.common.open()?;
    let bounds = [
        ("from", asked.from.as_deref()),
        ("until", asked.until.as_deref()),
        ("reason", asked.reason.as_deref()),
    ];
    let value = value::with(None, &[&asked.scope.fields()[..], &bounds].concat());
    desk.place(Kind::Hold.key(&[&asked.id]), &value, asked.replace, &asked.how).map(drop)
}
