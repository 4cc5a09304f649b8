//! Whether the brokers are new enough to fence a group member that lost its place.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::super::seam::Fault;
use super::super::settings::{CALL_TIMEOUT, PipelineSettings};
use super::context::Quiet;
use super::{config, errors};

/// The version from which brokers check the generation of a transactional commit (KIP-447).
const FENCING_SINCE: (u32, u32) = (2, 5);

/// Refuses brokers before 2.5. One that does not say its version (KRaft) is later than that.
pub(super) fn check(
    settings: &PipelineSettings,
    client: &BaseConsumer<Quiet>,
) -> Result<(), Fault> {
    let what = "asking for the brokers' version";
    let metadata = client
        .fetch_metadata(Some(&settings.topics.control), CALL_TIMEOUT)
        .map_err(|error| errors::call(what, &error))?;
    let Some(broker) = metadata.brokers().first().map(rdkafka::metadata::MetadataBroker::id) else {
        return Err(Fault::Retry(format!("{what}: the cluster names no broker")));
    };
    match stated(&config::whole(settings), broker) {
        Some(version) if version < FENCING_SINCE => Err(Fault::Stop(format!(
            "the brokers run Kafka {}.{}, which cannot fence a process that lost its partitions: \
             use 2.5 or later, or run one process alone and say so with --single-process",
            version.0, version.1
        ))),
        Some(_) | None => Ok(()),
    }
}

/// The protocol version that a broker states in its settings.
fn stated(config: &ClientConfig, broker: i32) -> Option<(u32, u32)> {
    let admin: AdminClient<DefaultClientContext> = config.create().ok()?;
    let options = AdminOptions::new().request_timeout(Some(CALL_TIMEOUT));
    let asked = [ResourceSpecifier::Broker(broker)];
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    let answer = runtime.block_on(admin.describe_configs(&asked, &options)).ok()?;
    let resource = answer.into_iter().next()?.ok()?;
    // rdkafka does not pass on a refusal; a broker that answers names many settings.
    if resource.entries.is_empty() {
        tracing::warn!(
            "lethe's user may not ask for the brokers' version, and takes them for 2.5 or later: grant \
             DescribeConfigs on the cluster"
        );
    }
    parse(resource.get("inter.broker.protocol.version")?.value.as_deref()?)
}

/// Reads `2.8-IV1` or `3.0`.
fn parse(text: &str) -> Option<(u32, u32)> {
    let digits = text.split('-').next()?;
    let mut parts = digits.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn versions_as_brokers_state_them() {
        assert_eq!(parse("2.8-IV1"), Some((2, 8)));
        assert_eq!(parse("2.4"), Some((2, 4)));
        assert_eq!(parse("3.9-IV0"), Some((3, 9)));
        assert_eq!(parse("unknown"), None);
    }
}
