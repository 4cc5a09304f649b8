//! Which librdkafka properties may be passed through, and which ones lethe's guarantees rest on.
//!
//! Invariant: no property that exactly-once depends on can be changed by a configuration.

/// Properties that are refused, each with the reason that the error gives.
const REFUSED: &[(&str, &str)] = &[
    ("acks", "outputs are lost without the acknowledgement of every replica"),
    ("auto.commit.enable", OFFSETS),
    ("auto.offset.reset", "set `start` instead"),
    ("bootstrap.servers", "set `brokers` instead"),
    ("client.software.name", "lethe names itself"),
    ("enable.auto.commit", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("enable.gapless.guarantee", "transactions guarantee more"),
    ("enable.idempotence", TRANSACTIONS),
    ("enable.partition.eof", "lethe needs to know where a log ends"),
    ("group.id", "set `group` instead"),
    ("group.instance.id", "it is made of `instance` and the worker's number"),
    ("group.protocol", "lethe takes over partitions by the classic protocol"),
    ("group.remote.assignor", "lethe takes over partitions by the classic protocol"),
    ("isolation.level", "aborted input would be processed"),
    ("max.in.flight", TRANSACTIONS),
    ("max.in.flight.requests.per.connection", TRANSACTIONS),
    ("message.send.max.retries", TRANSACTIONS),
    ("metadata.broker.list", "set `brokers` instead"),
    ("partition.assignment.strategy", "partitions move one by one, cooperatively"),
    ("partitioner", "each output goes to its input's partition"),
    ("plugin.library.paths", "a plugin could change any other property"),
    ("request.required.acks", "outputs are lost without the acknowledgement of every replica"),
    ("retries", TRANSACTIONS),
    ("transaction.timeout.ms", "an open transaction blocks readers and lethe's own restart"),
    ("transactional.id", "it is made of `group`, `instance` and the worker's number"),
];

const OFFSETS: &str = "offsets are committed with the outputs, in one transaction";
const TRANSACTIONS: &str = "transactions need it as lethe sets it";

/// Why a property may not be set, if it may not.
pub(super) fn refusal(property: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(name, _)| *name == property).map(|&(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exactly_once_rests_on_is_refused_and_security_is_not() {
        for property in ["enable.auto.commit", "isolation.level", "transactional.id", "acks"] {
            assert!(refusal(property).is_some(), "{property}");
        }
        for property in ["security.protocol", "sasl.password", "ssl.ca.location", "client.id"] {
            assert!(refusal(property).is_none(), "{property}");
        }
    }

    #[test]
    fn the_table_is_sorted_so_that_nothing_is_in_it_twice() {
        assert!(REFUSED.is_sorted_by(|a, b| a.0 < b.0));
    }
}
