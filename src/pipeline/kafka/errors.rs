//! rdkafka's errors as faults: what the caller does, and what the operator can do.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "librdkafka has some 200 codes; those not named pass by themselves"
)]

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::super::seam::Fault;

/// A client could not be made: a setting is wrong.
pub(super) fn creation(error: &KafkaError) -> Fault {
    Fault::Stop(unusable(error))
}

/// Why a client cannot be made of the properties it was given. A property's value may be a secret, also
/// that of one whose name is misspelt: it is not shown.
#[must_use]
pub(crate) fn unusable(error: &KafkaError) -> String {
    let why = match error {
        KafkaError::ClientConfig(_, why, property, value) => {
            let shown = if value.is_empty() { why.clone() } else { why.replace(value, "…") };
            format!("{property}: {shown}")
        }
        error => error.to_string(),
    };
    format!("the Kafka client cannot be made: {why}; correct the [kafka] properties")
}

/// What the broker says of a topic that was not among those that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// It does not know it.
    Unknown,
    /// It can be used by now.
    Over,
    /// Something else.
    Because(RDKafkaErrorCode),
}

impl Absence {
    pub(super) const fn of(code: RDKafkaErrorCode) -> Self {
        match code {
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => Self::Unknown,
            code => Self::Because(code),
        }
    }
}

/// A topic is not there, or cannot be seen. One that was found before may be there again soon: a broker that has
/// just started does not know all of its topics yet.
pub(super) fn missing_topic(name: &str, absence: Absence, found_before: bool) -> Fault {
    match absence {
        Absence::Over => Fault::Retry(format!("topic {name} could not be used a moment ago")),
        Absence::Unknown if found_before => {
            Fault::Retry(format!("topic {name} is not there any more"))
        }
        Absence::Unknown | Absence::Because(RDKafkaErrorCode::InvalidTopic) => {
            Fault::Stop(format!("topic {name} does not exist: `lethe topics apply` creates it"))
        }
        Absence::Because(code) if right(code).is_some() => {
            denied(&format!("looking at topic {name}"), code)
        }
        Absence::Because(code) => Fault::Retry(format!("topic {name}: {code}")),
    }
}

/// A call outside of a transaction failed.
pub(super) fn call(what: &str, error: &KafkaError) -> Fault {
    match error.rdkafka_error_code() {
        Some(code) if right(code).is_some() => denied(what, code),
        Some(RDKafkaErrorCode::UnsupportedFeature) => Fault::Stop(format!(
            "{what}: the broker is too old for it ({error}); lethe needs Kafka 2.4 or later"
        )),
        Some(RDKafkaErrorCode::FencedInstanceId) => fenced_instance(what),
        _ => Fault::Retry(format!("{what}: {error}")),
    }
}

/// Another process runs under this instance's name.
pub(super) fn fenced_instance(what: &str) -> Fault {
    Fault::Stop(format!(
        "{what}: another process has joined the group under this instance's name, and goes on in \
         its place; give every process an --instance of its own"
    ))
}

/// A topic's id could not be asked for. Brokers that know no ids, and operators who do not allow
/// the question, leave lethe without one: it then knows a recreated topic by its offsets alone.
pub(super) fn topic_id(name: &str, code: RDKafkaRespErr) -> Result<Option<String>, Fault> {
    match RDKafkaErrorCode::from(code) {
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            tracing::debug!(topic = name, ?code, "the broker does not tell the topic's id");
            Ok(None)
        }
        code => Err(Fault::Retry(format!("asking for the id of {name}: {code}"))),
    }
}

/// A call of a transaction failed.
pub(super) fn transaction(what: &str, error: &KafkaError) -> Fault {
    let text = format!("{what}: {error}");
    if let Some(code) = error.rdkafka_error_code()
        && right(code).is_some()
    {
        return denied(what, code);
    }
    let KafkaError::Transaction(error) = error else {
        return Fault::Abort(text);
    };
    if error.code() == RDKafkaErrorCode::UnsupportedFeature {
        Fault::Stop(format!(
            "{text}: the broker has no transactions; lethe needs Kafka 2.4 or later"
        ))
    } else if error.is_fatal() {
        Fault::Unknown(text)
    } else if error.txn_requires_abort() {
        Fault::Abort(text)
    } else if error.is_retriable() {
        Fault::Retry(text)
    } else {
        Fault::Unknown(text)
    }
}

/// A record was refused by the broker; aborting and trying again can help or not.
pub(super) fn delivery(topic: &str, code: RDKafkaErrorCode) -> Fault {
    if right(code).is_some() {
        return denied(&format!("writing to topic {topic}"), code);
    }
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge => {
            Fault::Stop(format!(
                "topic {topic} refuses a record for its size: its max.message.bytes is lower than \
                 lethe was told; `lethe topics plan` shows what it should be"
            ))
        }
        RDKafkaErrorCode::InvalidRecord
        | RDKafkaErrorCode::InvalidTimestamp
        | RDKafkaErrorCode::PolicyViolation
        | RDKafkaErrorCode::UnsupportedForMessageFormat => Fault::Stop(format!(
            "topic {topic} refuses lethe's records ({code}): `lethe topics plan` shows its settings"
        )),
        // Everything else passes by itself: leaders that move, brokers that restart.
        _ => Fault::Abort(format!("writing to topic {topic}: {code}")),
    }
}

/// The right that is missing, if the error says that one is. What it is missing on, the caller names.
fn right(code: RDKafkaErrorCode) -> Option<&'static str> {
    match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            Some("grant lethe's user Read on what it reads and Write on what it writes")
        }
        RDKafkaErrorCode::GroupAuthorizationFailed => Some("grant lethe's user Read on the group"),
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => Some(
            "grant lethe's user Write on the transactional ids that begin with the group's name and -",
        ),
        RDKafkaErrorCode::ClusterAuthorizationFailed => {
            Some("grant lethe's user IdempotentWrite on the cluster")
        }
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
            Some("the log-in is refused: correct the [kafka] sasl.* and ssl.* properties")
        }
        _ => None,
    }
}

fn denied(what: &str, code: RDKafkaErrorCode) -> Fault {
    let right = right(code).unwrap_or("grant lethe's user what it needs");
    Fault::Stop(format!("{what}: {code}; {right} (docs/operating.md, Access rights)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_is_not_there_ends_lethe_only_where_it_never_was() {
        use RDKafkaErrorCode as Code;
        let stops = |absence, found_before| {
            matches!(missing_topic("im.messages", absence, found_before), Fault::Stop(_))
        };
        let unknown = Absence::of(Code::UnknownTopicOrPartition);
        assert!(stops(unknown, false));
        assert!(stops(Absence::of(Code::TopicAuthorizationFailed), true));
        assert!(!stops(unknown, true));
        assert!(!stops(Absence::Over, false));
        for passing in [Code::LeaderNotAvailable, Code::FencedLeaderEpoch, Code::BrokerNotAvailable]
        {
            assert!(!stops(Absence::of(passing), false), "{passing:?}");
        }
    }
}
