//! A record of the control topic, parsed once per process.
//!
//! Whatever is wrong with a record is part of its value: a refused one changes nothing, and the last
//! valid one of its key stays in force.

use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::duration::{Retention, parse_time};
use super::erasure::Erasure;
use super::hold::Hold;
use super::replay::Replay;
use super::tenant::{TenantChoice, parse_conversation};
use super::terms::Terms;
use crate::ledger::key::push_part;

/// What is wrong with a record, in a few words without its content.
pub type Refused = &'static str;

/// A tenant is at most so many bytes long.
pub const TENANT_BYTES_MAX: usize = 64;
/// Every other id is at most so many bytes long.
pub const ID_BYTES_MAX: usize = 256;
/// More than any valid key has: a kind and two ids, each byte percent-encoded.
const KEY_BYTES_MAX: usize = 2048;
/// A control record's value is at most so many bytes long.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What a control record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `tenant/<tenant>`
    Tenant(String),
    /// `conversation/<tenant>/<conversation>`
    Conversation {
        /// The tenant.
        tenant: String,
        /// The conversation, encoded as in the record key.
        conversation: String,
    },
    /// `terms/<tenant>`
    Terms(String),
    /// `hold/<id>`
    Hold,
    /// `erasure/<id>`
    Erasure,
    /// `replay/<id>`
    Replay,
}

/// What a control record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Of a tenant's choices.
    Tenant(TenantChoice),
    /// Of a conversation's retention.
    Conversation(Retention),
    /// Of a tenant's terms.
    Terms(Terms),
    /// Of a hold.
    Hold(Hold),
    /// Of an erasure.
    Erasure(Erasure),
    /// Of a replay.
    Replay(Replay),
}

/// A statement, and when it is to come into force (Unix ms).
pub(super) struct Common<T> {
    pub(super) statement: T,
    pub(super) effective_at_ms: Option<i64>,
}

impl<T> Common<T> {
    pub(super) fn new(statement: T, effective_at: Option<&str>) -> Result<Self, Refused> {
        Ok(Self { statement, effective_at_ms: effective_at.map(parse_time).transpose()? })
    }

    fn map<U>(self, of: impl FnOnce(T) -> U) -> Common<U> {
        Common { statement: of(self.statement), effective_at_ms: self.effective_at_ms }
    }
}

/// A record of `lethe.control`: what it says, or why it is refused.
#[derive(Clone, Debug)]
pub struct ControlRecord {
    offset: i64,
    written_at_ms: i64,
    key: Box<str>,
    body: Option<Box<[u8]>>,
    parsed: Result<(Subject, Option<i64>), Refused>,
}

impl ControlRecord {
    /// Parses a record as it was read; what is wrong with it is part of the value.
    #[must_use]
    pub fn parse(offset: i64, written_at_ms: i64, key: &[u8], value: Option<&[u8]>) -> Self {
        // What is too long for any topic of lethe's is not carried about.
        let (shown, rest) = key.split_at_checked(KEY_BYTES_MAX).unwrap_or((key, &[]));
        let parsed = std::str::from_utf8(key).map_err(|_| "the key is not UTF-8").and_then(|key| {
            if !rest.is_empty() {
                return Err("the key is larger than 2 KiB");
            }
            let subject = Subject::parse(key)?;
            let effective_at_ms = match value {
                Some(body) => subject.parse_body(body)?.effective_at_ms,
                None => None,
            };
            Ok((subject, effective_at_ms))
        });
        Self {
            offset,
            written_at_ms,
            key: String::from_utf8_lossy(shown).into(),
            body: value.filter(|_| parsed.is_ok()).map(Into::into),
            parsed,
        }
    }

    /// Its offset on the control topic.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// When the broker wrote it (Unix ms).
    #[must_use]
    pub fn written_at_ms(&self) -> i64 {
        self.written_at_ms
    }

    /// Its key; of a refused one that is too long, the beginning.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong with it, in a few words without its content; none: it is valid.
    #[must_use]
    pub fn refusal(&self) -> Option<&'static str> {
        self.parsed.as_ref().err().copied()
    }

    /// What it says, as it was read; none: what was said is withdrawn.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    /// What it says, parsed; none: it withdraws what was said, or is refused.
    #[must_use]
    pub fn statement(&self) -> Option<Statement> {
        self.subject().ok()?.statement(self.body()?).ok()
    }

    pub(crate) fn subject(&self) -> Result<&Subject, Refused> {
        self.parsed.as_ref().map(|(subject, _)| subject).map_err(|why| *why)
    }

    /// When it comes into force (Unix ms): times in a record never reach back before it.
    #[must_use]
    pub fn in_force_at_ms(&self) -> i64 {
        let effective_at_ms = self.parsed.as_ref().ok().and_then(|(_, at_ms)| *at_ms);
        effective_at_ms.map_or(self.written_at_ms, |at_ms| at_ms.max(self.written_at_ms))
    }
}

impl Subject {
    /// The tenant whose rules it is about.
    pub(crate) fn tenant(&self) -> Option<&str> {
        match self {
            Self::Tenant(tenant) | Self::Terms(tenant) | Self::Conversation { tenant, .. } => {
                Some(tenant)
            }
            Self::Hold | Self::Erasure | Self::Replay => None,
        }
    }

    /// Reads a control key.
    pub(crate) fn parse(key: &str) -> Result<Self, Refused> {
        let mut parts = key.split('/');
        let kind = parts.next().unwrap_or_default();
        let first = decode(parts.next().ok_or("the key has no id")?)?;
        let second = parts.next();
        if parts.next().is_some() || (second.is_some() && kind != "conversation") {
            return Err("the key has too many parts");
        }
        match kind {
            "tenant" => Ok(Self::Tenant(check_tenant(&first).map(|()| first)?)),
            "terms" => Ok(Self::Terms(check_tenant(&first).map(|()| first)?)),
            "conversation" => {
                check_tenant(&first)?;
                let encoded = second.ok_or("the key has no conversation")?;
                check_id(&decode(encoded)?)?;
                Ok(Self::Conversation { tenant: first, conversation: encoded.to_owned() })
            }
            "hold" => check_id(&first).map(|()| Self::Hold),
            "erasure" => check_id(&first).map(|()| Self::Erasure),
            "replay" => check_id(&first).map(|()| Self::Replay),
            _ => Err("the key is of no known kind"),
        }
    }

    /// The control key of a tenant's own subject; the others are known by the key that they came under.
    pub(crate) fn key(&self) -> String {
        let (kind, tenant) = match self {
            Self::Tenant(tenant) => ("tenant/", tenant),
            Self::Terms(tenant) => ("terms/", tenant),
            Self::Conversation { .. } | Self::Hold | Self::Erasure | Self::Replay => {
                return String::new();
            }
        };
        let mut key = String::from(kind);
        push_part(&mut key, tenant);
        key
    }

    /// Reads what a body says about this subject.
    pub(crate) fn statement(&self, body: &[u8]) -> Result<Statement, Refused> {
        self.parse_body(body).map(|common| common.statement)
    }

    fn parse_body(&self, body: &[u8]) -> Result<Common<Statement>, Refused> {
        match self {
            Self::Tenant(_) => Ok(TenantChoice::parse(body)?.map(Statement::Tenant)),
            Self::Conversation { .. } => Ok(parse_conversation(body)?.map(Statement::Conversation)),
            Self::Terms(_) => Ok(Terms::parse(body)?.map(Statement::Terms)),
            Self::Hold => Ok(Hold::parse(body)?.map(Statement::Hold)),
            Self::Erasure => Ok(Erasure::parse(body)?.map(Statement::Erasure)),
            Self::Replay => Ok(Replay::parse(body)?.map(Statement::Replay)),
        }
    }
}

/// Reads JSON; what serde says of it is not passed on, since it may quote the content.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    if body.len() > BODY_BYTES_MAX {
        return Err("the value is larger than 64 KiB");
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            "the value has an unknown, missing or repeated field, or one of the wrong type"
        }
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => "the value is not JSON",
    })
}

/// Checks a tenant's id.
pub(super) fn check_tenant(tenant: &str) -> Result<(), Refused> {
    match tenant {
        "" => Err("an empty tenant"),
        "*" => Err("the tenant * is for holds alone"),
        tenant if tenant.len() > TENANT_BYTES_MAX => Err("a tenant of more than 64 bytes"),
        tenant if tenant.starts_with("lethe:") => Err("a tenant that begins with lethe:"),
        _ => Ok(()),
    }
}

/// Checks any other id.
pub(super) fn check_id(id: &str) -> Result<(), Refused> {
    match id {
        "" => Err("an empty id"),
        id if id.len() > ID_BYTES_MAX => Err("an id of more than 256 bytes"),
        _ => Ok(()),
    }
}

/// Decodes a part of a key. A part has one spelling, so that two keys never mean the same.
fn decode(part: &str) -> Result<String, Refused> {
    let decoded = percent_decode_str(part).decode_utf8().map_err(|_| "the key is not UTF-8")?;
    let mut again = String::with_capacity(part.len());
    push_part(&mut again, &decoded);
    if again == part {
        Ok(decoded.into_owned())
    } else {
        Err("only % and / are percent-encoded in a key")
    }
}
