//! What a tenant chose: `tenant/<tenant>` and `conversation/<tenant>/<conversation>`.

use serde::Deserialize;

use super::duration::{DAY_MS, Retention, parse_retention, parse_time};
use super::record::{Common, Refused};

/// The retention of a tenant that opted in and named none.
pub const RETENTION_DEFAULT_MS: i64 = 7 * DAY_MS;

/// A tenant's choice for one class of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Kept for a time.
    In {
        /// For how long, counted from the sent time or the last update.
        retention: Retention,
        /// What was sent before is treated as opted out (Unix ms); none: before the tenant went in.
        since_ms: Option<i64>,
    },
    /// Processed in transit only.
    Out,
}

/// A tenant's choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantChoice {
    /// For chat messages.
    pub message: Choice,
    /// For profiles.
    pub profile: Choice,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantBody {
    message: Option<ClassBody>,
    profile: Option<ClassBody>,
    effective_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassBody {
    storage: String,
    retention: Option<String>,
    since: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConversationBody {
    retention: String,
    effective_at: Option<String>,
}

impl TenantChoice {
    pub(super) fn parse(body: &[u8]) -> Result<Common<Self>, Refused> {
        let body: TenantBody = super::record::json(body)?;
        let choice = Self { message: choice_of(body.message)?, profile: choice_of(body.profile)? };
        Common::new(choice, body.effective_at.as_deref())
    }
}

pub(super) fn parse_conversation(body: &[u8]) -> Result<Common<Retention>, Refused> {
    let body: ConversationBody = super::record::json(body)?;
    Common::new(positive(parse_retention(&body.retention)?)?, body.effective_at.as_deref())
}

/// A class that is left out is opted out.
fn choice_of(body: Option<ClassBody>) -> Result<Choice, Refused> {
    let Some(body) = body else {
        return Ok(Choice::Out);
    };
    match body.storage.as_str() {
        "in" => {
            let retention = body.retention.as_deref().map(parse_retention).transpose()?;
            Ok(Choice::In {
                retention: positive(retention.unwrap_or(Retention::Ms(RETENTION_DEFAULT_MS)))?,
                since_ms: body.since.as_deref().map(parse_time).transpose()?,
            })
        }
        "out" if body.retention.is_some() => Err("a retention without storage \"in\""),
        "out" if body.since.is_some() => Err("a since without storage \"in\""),
        "out" => Ok(Choice::Out),
        _ => Err("storage is neither \"in\" nor \"out\""),
    }
}

fn positive(retention: Retention) -> Result<Retention, Refused> {
    match retention {
        Retention::Ms(0) => Err("a retention of zero; to store nothing, opt out"),
        other @ (Retention::Ms(_) | Retention::Forever) => Ok(other),
    }
}
