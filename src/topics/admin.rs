//! Looks at the broker's topics and changes them, through librdkafka's admin client.
//!
//! Invariant: a topic's settings that are not lethe's business stay as they are. librdkafka's safe
//! interface replaces all of a topic's settings at once, so that those set on it are read first and
//! written again.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewPartitions, NewTopic,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{Change, Current, SettingChange, Topic, log_in};
use crate::pipeline::kafka::unusable;

/// How long the broker may take for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long created topics may take until every broker tells of them.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long changed settings may take until a broker tells of them.
const CONFIGURED_TIMEOUT: Duration = Duration::from_secs(5);
/// How often to look meanwhile.
const VISIBLE_PAUSE: Duration = Duration::from_millis(200);

/// Why the topics could not be looked at or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicsError {
    /// No broker answers. It may later.
    #[error("no broker answers at {brokers}: {why}; check `brokers` and [kafka] (TLS, SASL)")]
    Away {
        /// Where it was looked for.
        brokers: String,
        /// What librdkafka says.
        why: String,
    },
    /// The brokers refuse the log-in.
    #[error(
        "the brokers at {brokers} refuse lethe's log-in: {why}; check the [kafka] sasl.* and ssl.* properties"
    )]
    LogIn {
        /// Where it was tried.
        brokers: String,
        /// The broker's words.
        why: String,
    },
    /// A right is missing.
    #[error(
        "lethe may not {act} {what}: grant {right} on it to lethe's user (docs/operating.md, Access rights)"
    )]
    Denied {
        /// What was tried.
        act: Act,
        /// On what.
        what: String,
        /// The right in Kafka's words.
        right: &'static str,
    },
    /// The broker refuses.
    #[error("the broker refuses to {act} {what}: {why}")]
    Refused {
        /// What was tried.
        act: Act,
        /// On what.
        what: String,
        /// Its words, and what to do.
        why: String,
    },
    /// The client cannot be made of these settings.
    #[error("{0}")]
    Client(String),
}

/// What is done with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Read its partitions and settings.
    Describe,
    /// Make it.
    Create,
    /// Add partitions.
    Widen,
    /// Change its settings.
    Configure,
}

impl Act {
    const fn right(self) -> &'static str {
        match self {
            Self::Describe => "Describe and DescribeConfigs",
            Self::Create => "Create (or on the cluster)",
            Self::Widen => "Alter",
            Self::Configure => "AlterConfigs",
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Describe => "describe",
            Self::Create => "create",
            Self::Widen => "add partitions to",
            Self::Configure => "change the settings of",
        })
    }
}

/// librdkafka's own lines are for debugging: what matters comes back as an error.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

/// A connection for looking at topics and changing them.
pub struct Admin {
    client: AdminClient<Quiet>,
    config: ClientConfig,
    brokers: String,
    replicas: i32,
}

impl Admin {
    /// Makes the client; it connects at its first request.
    ///
    /// # Errors
    /// [`TopicsError::Client`] if a property is none of librdkafka's or has no valid value.
    pub fn new(
        brokers: &str,
        kafka: &BTreeMap<String, String>,
        replication: Option<i32>,
    ) -> Result<Self, TopicsError> {
        let mut config = ClientConfig::new();
        config.set("client.id", "lethe-topics");
        config.extend(kafka.clone());
        config.set("bootstrap.servers", brokers);
        let client = config.create_with_context(Quiet);
        let client = client.map_err(|error| TopicsError::Client(unusable(&error)))?;
        // -1: the broker's default, from Kafka 2.4 on.
        let replicas = replication.unwrap_or(-1);
        Ok(Self { client, config, brokers: brokers.to_owned(), replicas })
    }

    /// Describes the topics with these names; those that are missing, or that lethe's user may not see, are
    /// left out. Settings that it may not see are [hidden](Topic::hidden).
    ///
    /// # Errors
    /// No broker answers, or it refuses.
    pub async fn describe(&self, names: &[String]) -> Result<Current, TopicsError> {
        let mut current = self.partitions(names)?;
        for (name, topic) in &mut current {
            let specifier = ResourceSpecifier::Topic(name);
            let described = self.client.describe_configs([&specifier], &options()).await;
            for resource in described.map_err(|error| self.failed(Act::Describe, name, &error))? {
                read_settings(resource.map_err(|code| refused(Act::Describe, name, code))?, topic);
            }
        }
        Ok(current)
    }

    /// Makes changes, one after the other, and waits until created topics are there.
    ///
    /// # Errors
    /// The first that fails; those before it are made.
    pub async fn apply(&self, changes: &[Change]) -> Result<(), TopicsError> {
        for change in changes {
            match change {
                Change::Create { topic, partitions, settings } => {
                    self.create(topic, *partitions, settings).await?;
                }
                Change::AddPartitions { topic, from: _, to } => self.widen(topic, *to).await?,
                Change::Set { topic, settings } => self.configure(topic, settings).await?,
            }
        }
        self.wait_until_visible(changes).await
    }

    /// Asks for all topics: to ask for one by name would create it on some brokers.
    fn partitions(&self, names: &[String]) -> Result<Current, TopicsError> {
        let metadata = self.client.inner().fetch_metadata(None, REQUEST_TIMEOUT);
        let metadata = metadata.map_err(|error| self.away(&error))?;
        let wanted = |name: &str| names.iter().any(|wanted| wanted == name);
        let topics = metadata.topics().iter().filter(|topic| wanted(topic.name()));
        Ok(topics
            .map(|topic| {
                let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
                (topic.name().to_owned(), Topic { partitions, ..Topic::default() })
            })
            .collect())
    }

    async fn create(
        &self,
        topic: &str,
        partitions: i32,
        settings: &[(String, String)],
    ) -> Result<(), TopicsError> {
        let new = NewTopic {
            name: topic,
            num_partitions: partitions,
            replication: TopicReplication::Fixed(self.replicas),
            config: settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        };
        let results = self.client.create_topics([&new], &options()).await;
        for result in results.map_err(|error| self.failed(Act::Create, topic, &error))? {
            match result {
                // Another process has made it meanwhile.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(refused(Act::Create, topic, code)),
            }
        }
        Ok(())
    }

    async fn widen(&self, topic: &str, to: i32) -> Result<(), TopicsError> {
        let new = NewPartitions::new(topic, usize::try_from(to).unwrap_or_default());
        let results = self.client.create_partitions([&new], &options()).await;
        for result in results.map_err(|error| self.failed(Act::Widen, topic, &error))? {
            result.map_err(|(_, code)| refused(Act::Widen, topic, code))?;
        }
        Ok(())
    }

    async fn configure(&self, topic: &str, changes: &[SettingChange]) -> Result<(), TopicsError> {
        let mut current = self.describe(&[topic.to_owned()]).await?;
        let now = current.remove(topic).unwrap_or_default();
        let kept = now.own.iter().filter_map(|name| Some((name, now.settings.get(name)?)));
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in kept {
            alter = alter.set(name, value);
        }
        for change in changes {
            alter = alter.set(&change.setting, &change.to);
        }
        let results = self.client.alter_configs([&alter], &options()).await;
        for result in results.map_err(|error| self.failed(Act::Configure, topic, &error))? {
            result.map_err(|(_, code)| refused(Act::Configure, topic, code))?;
        }
        self.wait_until_configured(topic, changes).await
    }

    /// rdkafka does not pass on that a topic's settings were refused: it is seen by what they are.
    async fn wait_until_configured(
        &self,
        topic: &str,
        changes: &[SettingChange],
    ) -> Result<(), TopicsError> {
        let deadline = tokio::time::Instant::now() + CONFIGURED_TIMEOUT;
        loop {
            let now = self.describe(&[topic.to_owned()]).await?.remove(topic).unwrap_or_default();
            let not_yet =
                |change: &&SettingChange| now.settings.get(&change.setting) != Some(&change.to);
            let Some(change) = changes.iter().find(not_yet) else { return Ok(()) };
            if tokio::time::Instant::now() >= deadline {
                let why = format!(
                    "{} does not become {}: grant {} on it to lethe's user, or ask who runs the cluster \
                     for its policy",
                    change.setting,
                    change.to,
                    Act::Configure.right()
                );
                return Err(TopicsError::Refused {
                    act: Act::Configure,
                    what: topic.to_owned(),
                    why,
                });
            }
            tokio::time::sleep(VISIBLE_PAUSE).await;
        }
    }

    async fn wait_until_visible(&self, changes: &[Change]) -> Result<(), TopicsError> {
        let wanted: Vec<_> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Create { topic, partitions, .. } => Some((topic.clone(), *partitions)),
                Change::AddPartitions { topic, to, .. } => Some((topic.clone(), *to)),
                Change::Set { .. } => None,
            })
            .collect();
        let names: Vec<_> = wanted.iter().map(|(name, _)| name.clone()).collect();
        let deadline = tokio::time::Instant::now() + VISIBLE_TIMEOUT;
        loop {
            let there = self.partitions(&names)?;
            let missing = wanted.iter().find(|(name, partitions)| {
                there.get(name).is_none_or(|topic| topic.partitions < *partitions)
            });
            let Some((name, _)) = missing else { return Ok(()) };
            if tokio::time::Instant::now() >= deadline {
                let why = "it was accepted, but does not appear: grant lethe's user what it needs on \
                           it (docs/operating.md, Access rights), or look at the broker's log";
                let (what, why) = (name.clone(), why.to_owned());
                return Err(TopicsError::Refused { act: Act::Create, what, why });
            }
            tokio::time::sleep(VISIBLE_PAUSE).await;
        }
    }

    /// A request as a whole failed.
    fn failed(&self, act: Act, what: &str, error: &KafkaError) -> TopicsError {
        match error.rdkafka_error_code() {
            Some(code) if !is_away(code) => refused(act, what, code),
            Some(_) | None => self.away(error),
        }
    }

    fn away(&self, error: &KafkaError) -> TopicsError {
        if let Some(why) = log_in::refusal(&self.config) {
            return TopicsError::LogIn { brokers: self.brokers.clone(), why };
        }
        TopicsError::Away { brokers: self.brokers.clone(), why: error.to_string() }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT))
}

/// rdkafka does not pass on why a topic is not described; one that is has a value for every setting.
fn read_settings(resource: ConfigResource, topic: &mut Topic) {
    topic.hidden = resource.entries.is_empty();
    for entry in resource.entries {
        if entry.source == ConfigSource::DynamicTopic {
            topic.own.push(entry.name.clone());
        }
        if let Some(value) = entry.value {
            topic.settings.insert(entry.name, value);
        }
    }
}

/// Whether nobody has answered, rather than answered with a refusal.
fn is_away(code: RDKafkaErrorCode) -> bool {
    [
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::AllBrokersDown,
        RDKafkaErrorCode::OperationTimedOut,
        RDKafkaErrorCode::RequestTimedOut,
        RDKafkaErrorCode::NetworkException,
        RDKafkaErrorCode::Resolve,
    ]
    .contains(&code)
}

fn refused(act: Act, what: &str, code: RDKafkaErrorCode) -> TopicsError {
    let denied =
        [RDKafkaErrorCode::TopicAuthorizationFailed, RDKafkaErrorCode::ClusterAuthorizationFailed];
    if denied.contains(&code) {
        return TopicsError::Denied { act, what: what.to_owned(), right: act.right() };
    }
    let advice = if code == RDKafkaErrorCode::InvalidReplicationFactor {
        "; set `topics.replication` to a number of replicas that the cluster has"
    } else if code == RDKafkaErrorCode::PolicyViolation {
        "; the cluster's policy forbids these settings: ask who runs it"
    } else {
        ""
    };
    TopicsError::Refused { act, what: what.to_owned(), why: format!("{code}{advice}") }
}
