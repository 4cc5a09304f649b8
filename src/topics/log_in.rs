//! Whether brokers that do not answer refuse the log-in: a call says no more of it than that nobody answers,
//! and rdkafka's admin client drops what librdkafka says beside.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

/// How long a broker may take to refuse.
const WAIT: Duration = Duration::from_secs(2);
/// How long what librdkafka says is waited for afterwards.
const SAYS_WAIT: Duration = Duration::from_millis(200);

/// The broker's words where it refuses these properties' log-in; they hold no password.
pub(super) fn refusal(config: &ClientConfig) -> Option<String> {
    let producer: BaseProducer<Heard> = config.create_with_context(Heard::default()).ok()?;
    // The answer is heard below, where there is one.
    drop(producer.client().fetch_metadata(None, WAIT));
    producer.poll(SAYS_WAIT);
    let refused = &producer.context().refused;
    refused.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What was heard of the log-in.
#[derive(Default)]
struct Heard {
    refused: Mutex<Option<String>>,
}

impl ClientContext for Heard {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Authentication) {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.get_or_insert_with(|| reason.to_owned());
        }
    }
}

impl ProducerContext for Heard {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}
