//! What lethe's user may do with each topic, beside what lethe needs (docs/operating.md has the table).
//!
//! Asked for at the start, so that one error names every right that is missing rather than the first
//! one that is met; and again where a call was refused, because a refusal does not always name its topic.

use rdkafka::bindings::rd_kafka_AclOperation_t as Operation;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode;

use super::super::seam::{Fault, Role};
use super::super::settings::{CALL_TIMEOUT, CLASSES, OUTPUTS, Topics};
use super::context::Quiet;
use super::native::{self, Description};

/// Every role of a topic.
pub(super) fn roles() -> impl Iterator<Item = Role> {
    CLASSES.map(Role::Input).into_iter().chain(OUTPUTS).chain([Role::Control])
}

/// Describes the topics of some roles; nothing where the broker is too old to be asked.
pub(super) fn describe(
    client: &BaseConsumer<Quiet>,
    topics: &Topics,
    roles: &[Role],
) -> Result<Vec<(Role, Description)>, Fault> {
    // Two roles may share a topic, and a name asked for twice is refused.
    let mut names: Vec<String> = roles.iter().map(|&role| topics.name(role)).collect();
    names.sort_unstable();
    names.dedup();
    let asked: Vec<_> = names.iter().map(|name| native::name(name)).collect();
    let told = match native::describe(client, &asked, CALL_TIMEOUT).map_err(RDKafkaErrorCode::from)
    {
        Ok(told) => told,
        Err(
            code @ (RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion),
        ) => {
            tracing::debug!(?code, "the broker does not describe topics");
            return Ok(Vec::new());
        }
        Err(code) => return Err(Fault::Retry(format!("asking for the topics: {code}"))),
    };
    let find = |role: Role| {
        let name = topics.name(role);
        told.iter().find(|topic| topic.name == name).map(|topic| (role, topic.clone()))
    };
    Ok(roles.iter().filter_map(|&role| find(role)).collect())
}

/// The rights that are missing, in one sentence; none: none is, as far as the broker tells.
pub(super) fn missing(topics: &[(Role, Description)]) -> Option<String> {
    let mut lines: Vec<String> = topics
        .iter()
        .filter_map(|(role, topic)| {
            let missing = lacking(needed(*role), topic);
            (!missing.is_empty())
                .then(|| format!("{} on topic {}", missing.join(" and "), topic.name))
        })
        .collect();
    lines.dedup();
    (!lines.is_empty()).then(|| {
        format!(
            "lethe's user lacks rights: {}. Grant them (docs/operating.md lists what lethe needs) and \
             start lethe again",
            lines.join("; ")
        )
    })
}

/// The changelogs from whose front nothing can be removed.
pub(super) fn unremovable(topics: &[(Role, Description)]) -> Vec<&str> {
    let changelog = |role: &Role| matches!(role, Role::Changelog(_));
    let of = topics.iter().filter(|(role, _)| changelog(role));
    of.filter(|(_, topic)| {
        let delete = [(Operation::RD_KAFKA_ACL_OPERATION_DELETE, "Delete")];
        topic.refused.is_none() && !lacking(&delete, topic).is_empty()
    })
    .map(|(_, topic)| topic.name.as_str())
    .collect()
}

type Right = (Operation, &'static str);

const READ: Right = (Operation::RD_KAFKA_ACL_OPERATION_READ, "Read");
const WRITE: Right = (Operation::RD_KAFKA_ACL_OPERATION_WRITE, "Write");

/// What lethe cannot work without. Describe comes with either.
const fn needed(role: Role) -> &'static [Right] {
    match role {
        Role::Input(_) | Role::Control => &[READ],
        Role::Output(..) | Role::Audit | Role::DeadLetters => &[WRITE],
        Role::Changelog(_) => &[READ, WRITE],
    }
}

fn lacking(needed: &[Right], topic: &Description) -> Vec<&'static str> {
    let denied = topic.refused.map(RDKafkaErrorCode::from)
        == Some(RDKafkaErrorCode::TopicAuthorizationFailed);
    let may = |right: &Operation| {
        let operations = topic.operations.as_ref();
        !denied && operations.is_none_or(|operations| operations.contains(right))
    };
    needed.iter().filter(|(right, _)| !may(right)).map(|&(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use lethe_engine::Class;
    use rdkafka::types::RDKafkaRespErr;

    use super::*;

    fn topic(name: &str, operations: Option<&[Operation]>) -> Description {
        let operations = operations.map(<[Operation]>::to_vec);
        Description { name: name.to_owned(), id: None, operations, refused: None }
    }

    #[test]
    fn every_missing_right_is_named_with_its_topic() {
        let read = [Operation::RD_KAFKA_ACL_OPERATION_READ];
        let hidden = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        let topics = [
            (Role::Input(Class::Message), topic("in", Some(&read))),
            (Role::Changelog(Class::Message), topic("log", Some(&read))),
            (Role::Audit, topic("audit", Some(&[]))),
            (Role::DeadLetters, Description { refused: Some(hidden), ..topic("dlq", None) }),
        ];
        let said = missing(&topics).unwrap_or_default();
        let names = "Write on topic log; Write on topic audit; Write on topic dlq. ";
        assert!(said.contains(names) && !said.contains("topic in;"), "{said}");
        assert_eq!(unremovable(&topics), ["log"]);
    }

    #[test]
    fn what_the_broker_does_not_tell_is_not_missing() {
        let topics = [(Role::Changelog(Class::Message), topic("log", None))];
        assert_eq!(missing(&topics), None);
        assert!(unremovable(&topics).is_empty());
    }
}
