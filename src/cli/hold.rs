//! `lethe hold`: legal holds.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::control::{Common, How};
use crate::control::key::Kind;
use crate::control::{Change, Expected, value};
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
    Release(Release),
    /// Show every hold
    #[command(after_help = "Example:\n  lethe hold list --json")]
    List(Common),
}

#[derive(Args, Debug)]
pub(super) struct Place {
    /// The hold's name
    id: String,

    /// The tenant, or * for all of them
    #[arg(long)]
    tenant: String,

    /// A conversation of the tenant
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,

    /// A user: as the sender of messages, and with the user's profile
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// A message of the conversation
    #[arg(long, value_name = "ID", requires = "conversation")]
    message: Option<String>,

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

#[derive(Args, Debug)]
pub(super) struct Release {
    /// The hold's name
    id: String,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(verb: &Hold) -> Result<(), Failure> {
    match verb {
        Hold::Place(asked) => place(asked),
        Hold::Release(asked) => release(asked),
        Hold::List(common) => common.open()?.list(&[Kind::Hold.prefix()]),
    }
}

fn place(asked: &Place) -> Result<(), Failure> {
    let desk = asked.common.open()?;
    let key = Kind::Hold.key(&[&asked.id]);
    let fields = [
        ("tenant", Some(asked.tenant.as_str())),
        ("conversation", asked.conversation.as_deref()),
        ("user", asked.user.as_deref()),
        ("message", asked.message.as_deref()),
        ("from", asked.from.as_deref()),
        ("until", asked.until.as_deref()),
        ("reason", asked.reason.as_deref()),
    ];
    let value = value::with(None, &fields);
    match desk.book.value(&key) {
        Some(there) if *there == value => return desk.change(&[], &asked.how),
        Some(there) if !asked.replace => return Err(taken(&asked.id, there)),
        Some(_) | None => {}
    }
    if asked.tenant != "*" && desk.book.value(&Kind::Tenant.key(&[&asked.tenant])).is_none() {
        eprintln!("lethe: nothing is known of the tenant {}; the hold is placed", asked.tenant);
    }
    let expected = asked.how.expected(&desk.book, &key);
    desk.change(&[Change { key, value: Some(value.to_string()), expected }], &asked.how)
}

fn release(asked: &Release) -> Result<(), Failure> {
    let desk = asked.common.open()?;
    let key = Kind::Hold.key(&[&asked.id]);
    if desk.book.value(&key).is_none() && asked.how.expected(&desk.book, &key) == Expected::Nothing
    {
        return Err(Failure::Failed(format!("there is no hold {}", asked.id)));
    }
    let expected = asked.how.expected(&desk.book, &key);
    desk.change(&[Change { key, value: None, expected }], &asked.how)
}

fn taken(id: &str, there: &Value) -> Failure {
    Failure::Failed(format!(
        "the hold {id} is there and says something else: {there}; choose another name, or --replace it"
    ))
}
