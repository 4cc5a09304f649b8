//! What keeps records whatever ends them: `hold/<id>`.

use serde::Deserialize;

use super::duration::parse_time;
use super::record::{Common, Refused};

/// A hold. Until scopes are in force it keeps every record of the tenant that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The tenant; none: `*`, the emergency stop.
    pub tenant: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    tenant: String,
    conversation: Option<String>,
    user: Option<String>,
    message: Option<String>,
    from: Option<String>,
    until: Option<String>,
    #[serde(rename = "reason")]
    _reason: Option<String>,
}

impl Hold {
    pub(super) fn parse(body: &[u8]) -> Result<Common<Self>, Refused> {
        let body: HoldBody = super::record::json(body)?;
        for id in [&body.conversation, &body.user, &body.message].into_iter().flatten() {
            super::record::check_id(id)?;
        }
        if body.message.is_some() && body.conversation.is_none() {
            return Err("a message without its conversation");
        }
        let from = body.from.as_deref().map(parse_time).transpose()?;
        let until = body.until.as_deref().map(parse_time).transpose()?;
        if from.zip(until).is_some_and(|(from, until)| from > until) {
            return Err("from is later than until");
        }
        let tenant = match body.tenant.as_str() {
            "*" => None,
            tenant => {
                super::record::check_tenant(tenant)?;
                Some(tenant.to_owned())
            }
        };
        Common::new(Self { tenant }, None)
    }
}
