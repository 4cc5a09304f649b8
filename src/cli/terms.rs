//! `lethe terms`: what the operator agreed with a tenant, and what the law asks.

use clap::{Args, Subcommand};

use super::control::{Common, How, Withdraw};
use crate::control::key::Kind;
use crate::control::value;
use crate::error::Failure;

/// Show or change a tenant's terms: transit limit, legal minimum, maximum, the end of its use
#[derive(Debug, Subcommand)]
pub(super) enum Terms {
    /// Show a tenant's terms
    #[command(after_help = "Example:\n  lethe terms get acme")]
    Get(Get),
    /// Show every tenant's terms that are not the defaults
    #[command(after_help = "Example:\n  lethe terms list --json")]
    List(Common),
    /// Change a tenant's terms; what is not named stays as it is
    #[command(
        after_help = "Examples:\n  lethe terms set acme --minimum 30d\n  lethe terms set acme \
                            --ended-at 2026-12-31T00:00:00Z\n  lethe terms set acme --ended-at ''    \
                            # in use again"
    )]
    Set(Set),
    /// Go back to the defaults
    #[command(after_help = "Example:\n  lethe terms remove acme")]
    Remove(Withdraw),
}

#[derive(Args, Debug)]
pub(super) struct Get {
    /// The tenant
    tenant: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Set {
    /// The tenant
    tenant: String,

    /// How long content may be in transit [default: 24h]; '' for the default
    #[arg(long, value_name = "DURATION")]
    transit_limit: Option<String>,

    /// How long a law demands that stored content is kept [default: 0s]
    #[arg(long, value_name = "DURATION")]
    minimum: Option<String>,

    /// The longest retention that the tenant may choose [default: 3650d]
    #[arg(long, value_name = "DURATION")]
    maximum: Option<String>,

    /// When its use ended (RFC 3339): two calendar months later everything of it goes
    #[arg(long, value_name = "TIME")]
    ended_at: Option<String>,

    /// Until then (RFC 3339) what is said now stays in force
    #[arg(long, value_name = "TIME")]
    effective_at: Option<String>,

    #[command(flatten)]
    how: How,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(verb: &Terms) -> Result<(), Failure> {
    match verb {
        Terms::Get(asked) => asked.common.open()?.show(&Kind::Terms.key(&[&asked.tenant])),
        Terms::List(common) => common.open()?.list(&[Kind::Terms.prefix()]),
        Terms::Set(asked) => set(asked),
        Terms::Remove(asked) => asked.run(Kind::Terms),
    }
}

fn set(asked: &Set) -> Result<(), Failure> {
    let desk = asked.common.open()?;
    let key = Kind::Terms.key(&[&asked.tenant]);
    let fields = [
        ("transit_limit", asked.transit_limit.as_deref()),
        ("minimum", asked.minimum.as_deref()),
        ("maximum", asked.maximum.as_deref()),
        ("ended_at", asked.ended_at.as_deref()),
        ("effective_at", asked.effective_at.as_deref()),
    ];
    let value = value::with(desk.book.value(&key), &fields);
    desk.say(key, &value, &asked.how).map(drop)
}
