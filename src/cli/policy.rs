//! `lethe policy`: what tenants chose.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::control::{Common, Desk, How};
use crate::control::key::Kind;
use crate::control::value::{self, ClassWish};
use crate::control::{Change, files};
use crate::error::Failure;

/// Show or change what tenants chose: what is stored, and for how long
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Show a tenant's choice, or a conversation's retention
    #[command(after_help = "Example:\n  lethe policy get acme --json")]
    Get(Get),
    /// Show what is said of every tenant and conversation
    #[command(after_help = "Example:\n  lethe policy list")]
    List(Common),
    /// Change a tenant's choice, or a conversation's retention; what is not named stays as it is
    #[command(
        after_help = "Examples:\n  lethe policy set acme --message in --message-retention 30d\n  \
                            lethe policy set acme --conversation room-7 --retention 1d\n  \
                            lethe policy set acme --profile out --dry-run"
    )]
    Set(Set),
    /// Withdraw a tenant's choice (it is opted out then), or a conversation's retention
    #[command(after_help = "Example:\n  lethe policy remove acme --conversation room-7")]
    Remove(Remove),
    /// Show what `apply` would change
    #[command(after_help = "Example:\n  lethe policy diff -f policies/")]
    Diff(Diff),
    /// Make the control topic say what files say: all of it or nothing
    #[command(after_help = "Example:\n  lethe policy apply -f policies/\n\nEach .json file is an \
                            object from control key to value:\n  {\"tenant/acme\": {\"message\": \
                            {\"storage\": \"in\", \"retention\": \"30d\"}}}")]
    Apply(Apply),
}

#[derive(Args, Debug)]
pub(super) struct Whose {
    /// The tenant
    tenant: String,

    /// A conversation of it
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Get {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Set {
    #[command(flatten)]
    whose: Whose,

    /// The conversation's retention: 90s, 15m, 36h, 7d or forever
    #[arg(long, value_name = "DURATION", requires = "conversation")]
    retention: Option<String>,

    /// Store chat messages: in or out
    #[arg(long, value_name = "in|out", conflicts_with = "conversation")]
    message: Option<String>,

    /// How long messages are stored
    #[arg(long, value_name = "DURATION", conflicts_with = "conversation")]
    message_retention: Option<String>,

    /// Messages sent before are treated as opted out [default: now, on the way in]
    #[arg(long, value_name = "TIME", conflicts_with = "conversation")]
    message_since: Option<String>,

    /// Store profiles: in or out
    #[arg(long, value_name = "in|out", conflicts_with = "conversation")]
    profile: Option<String>,

    /// How long profiles are stored after their last update
    #[arg(long, value_name = "DURATION", conflicts_with = "conversation")]
    profile_retention: Option<String>,

    /// Profiles updated before are treated as opted out [default: now, on the way in]
    #[arg(long, value_name = "TIME", conflicts_with = "conversation")]
    profile_since: Option<String>,

    /// Until then (RFC 3339) what is said now stays in force
    #[arg(long, value_name = "TIME")]
    effective_at: Option<String>,

    #[command(flatten)]
    how: How,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Remove {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Files {
    /// A file, or a directory of .json files
    #[arg(short = 'f', long = "file", value_name = "PATH")]
    path: PathBuf,

    /// Withdraw what is said of tenants, conversations and terms that the files do not name
    #[arg(long)]
    prune: bool,
}

#[derive(Args, Debug)]
pub(super) struct Diff {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Apply {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    common: Common,
}

impl Whose {
    fn key(&self) -> String {
        match &self.conversation {
            Some(conversation) => Kind::Conversation.key(&[&self.tenant, conversation]),
            None => Kind::Tenant.key(&[&self.tenant]),
        }
    }
}

pub(super) fn run(verb: &Policy) -> Result<(), Failure> {
    match verb {
        Policy::Get(asked) => asked.common.open()?.show(&asked.whose.key()),
        Policy::List(common) => {
            common.open()?.list(&[Kind::Tenant.prefix(), Kind::Conversation.prefix()])
        }
        Policy::Set(asked) => set(asked),
        Policy::Remove(asked) => asked.common.open()?.withdraw(asked.whose.key(), &asked.how),
        Policy::Diff(diff) => {
            let (desk, changes) = diff.files.open(&diff.common)?;
            desk.differences(&changes)
        }
        Policy::Apply(apply) => {
            let (desk, changes) = apply.files.open(&apply.common)?;
            desk.change(&changes, &apply.how).map(drop)
        }
    }
}

fn set(asked: &Set) -> Result<(), Failure> {
    let desk = asked.common.open()?;
    let key = asked.whose.key();
    let in_force = desk.book.value(&key);
    let effective_at = asked.effective_at.as_deref();
    let value = if asked.whose.conversation.is_some() {
        let retention = ("retention", asked.retention.as_deref());
        value::with(in_force, &[retention, ("effective_at", effective_at)])
    } else {
        let message = ClassWish {
            storage: asked.message.clone(),
            retention: asked.message_retention.clone(),
            since: asked.message_since.clone(),
        };
        let profile = ClassWish {
            storage: asked.profile.clone(),
            retention: asked.profile_retention.clone(),
            since: asked.profile_since.clone(),
        };
        let classes = [("message", message), ("profile", profile)];
        value::tenant(in_force, &classes, effective_at, desk.now_ms)
    };
    desk.say(key, &value, &asked.how).map(drop)
}

impl Files {
    /// The control topic, and what has to change on it.
    pub(super) fn open(&self, common: &Common) -> Result<(Desk, Vec<Change>), Failure> {
        let wanted = files::read(&self.path).map_err(|error| Failure::Usage(error.to_string()))?;
        let desk = common.open()?;
        let changes = files::changes(&wanted, &desk.book, self.prune);
        Ok((desk, changes))
    }
}
