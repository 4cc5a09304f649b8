//! Removes records from the front of changelogs, on a thread of its own: the broker may take its
//! time, and nobody waits for it.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "librdkafka has some 200 codes; those not named pass by themselves"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use metrics::Counter;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::super::seam::{Fault, Role};
use super::super::settings::{CALL_TIMEOUT, PipelineSettings};
use super::{config, errors};
use crate::telemetry::names;

/// Removals that wait; one that finds no room is asked for again after the next snapshot.
const WAITING_MAX: usize = 1024;

/// How often a removal that failed is tried again before it is left for the next snapshot.
const RETRIES: u32 = 3;
/// The time between two tries.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The records of a partition before an offset.
struct Removal {
    topic: String,
    partition: i32,
    before: i64,
}

/// Asks for removals.
pub(super) struct Remover {
    ask: SyncSender<Removal>,
    /// The last one was refused.
    refused: Arc<AtomicBool>,
}

impl Remover {
    /// Starts the thread, which ends with this value.
    pub(super) fn start(settings: &PipelineSettings) -> Result<Self, Fault> {
        let admin: AdminClient<DefaultClientContext> =
            config::admin(settings).create().map_err(|error| errors::creation(&error))?;
        let (ask, asked) = sync_channel(WAITING_MAX);
        let refused = Arc::new(AtomicBool::new(false));
        thread::Builder::new()
            .name("removal".to_owned())
            .spawn({
                let refused = Arc::clone(&refused);
                move || work(&admin, &asked, &refused)
            })
            .map_err(|error| Fault::Stop(format!("the thread removal cannot start: {error}")))?;
        Ok(Self { ask, refused })
    }

    /// Whether the last one was refused.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Asks for one, without a wait.
    pub(super) fn ask(
        &self,
        settings: &Arc<PipelineSettings>,
        role: Role,
        partition: i32,
        before: i64,
    ) {
        let removal = Removal { topic: settings.topics.name(role), partition, before };
        if self.ask.try_send(removal).is_err() {
            tracing::debug!(partition, before, "a removal is left for the next snapshot");
        }
    }
}

fn work(
    admin: &AdminClient<DefaultClientContext>,
    asked: &Receiver<Removal>,
    is_refused: &AtomicBool,
) {
    let counter =
        |result: &'static str| metrics::counter!(names::CHANGELOG_REMOVALS, "result" => result);
    let (done, failed, refused) = (counter("done"), counter("failed"), counter("refused"));
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    for removal in asked {
        let Removal { topic, partition, before } = &removal;
        let mut outcome = runtime.block_on(remove(admin, &removal));
        // A new client does not know the leaders at once, and leaders move.
        for _ in 0..RETRIES {
            match &outcome {
                Err(error) if refusal(error).is_none() => thread::sleep(RETRY_PAUSE),
                Ok(()) | Err(_) => break,
            }
            outcome = runtime.block_on(remove(admin, &removal));
        }
        match outcome {
            Ok(()) => {
                tracing::debug!(topic, partition, before, "records before a snapshot are removed");
                done.increment(1);
                is_refused.store(false, Ordering::Relaxed);
            }
            Err(error) => tell(&error, topic, is_refused, &failed, &refused),
        }
    }
}

async fn remove(
    admin: &AdminClient<DefaultClientContext>,
    removal: &Removal,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    let offset = Offset::Offset(removal.before);
    list.add_partition_offset(&removal.topic, removal.partition, offset)?;
    let options = AdminOptions::new()
        .request_timeout(Some(CALL_TIMEOUT))
        .operation_timeout(Some(CALL_TIMEOUT));
    let answer = admin.delete_records(&list, &options).await?;
    answer.elements().iter().try_for_each(|element| element.error())
}

/// What cannot pass by itself is said once.
fn tell(
    error: &KafkaError,
    topic: &str,
    is_refused: &AtomicBool,
    failed: &Counter,
    refused: &Counter,
) {
    let Some(what_to_do) = refusal(error) else {
        tracing::debug!(%error, topic, "records could not be removed; tried again later");
        failed.increment(1);
        return;
    };
    refused.increment(1);
    if !is_refused.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            %error,
            topic,
            "the broker refuses to remove records before a snapshot, so that the changelog grows: \
             {what_to_do}"
        );
    }
}

/// What an operator has to do; none: it may pass by itself.
fn refusal(error: &KafkaError) -> Option<&'static str> {
    match error.rdkafka_error_code()? {
        RDKafkaErrorCode::PolicyViolation => {
            Some("its cleanup.policy must be delete (`lethe topics apply` sets it)")
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => Some("grant Delete on it to lethe's user"),
        RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion => {
            Some("the broker is too old for it: watch its disk, or use Kafka 0.11 or later")
        }
        _ => None,
    }
}
