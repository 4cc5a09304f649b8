//! librdkafka's own figures, as far as they tell an operator something.

use std::cell::Cell;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge};
use rdkafka::statistics::{Broker, Partition, Statistics};

use crate::telemetry::names;

/// The gauges of one client.
pub(super) struct Figures {
    round_trip: Gauge,
    queue_records: Gauge,
    queue_bytes: Gauge,
    errors: Counter,
}

impl Figures {
    /// Of a worker's `consumer` or `producer`.
    pub(super) fn new(client: &'static str, worker: usize) -> Self {
        let labels = [("client", client.to_owned()), ("worker", worker.to_string())];
        Self {
            round_trip: metrics::gauge!(names::KAFKA_ROUND_TRIP, &labels),
            queue_records: metrics::gauge!(names::KAFKA_QUEUE_RECORDS, &labels),
            queue_bytes: metrics::gauge!(names::KAFKA_QUEUE_BYTES, &labels),
            errors: metrics::counter!(names::KAFKA_ERRORS, &labels),
        }
    }

    /// What the client says of itself now.
    pub(super) fn show(&self, said: &Statistics) {
        let slowest = said.brokers.values().filter_map(|broker| broker.rtt.as_ref());
        let slowest_us = slowest.map(|window| window.p99).max().unwrap_or_default();
        let slowest = Duration::from_micros(u64::try_from(slowest_us).unwrap_or_default());
        self.round_trip.set(slowest.as_secs_f64());
        let partitions = || said.topics.values().flat_map(|topic| topic.partitions.values());
        let fetched =
            |partition: &Partition| u64::try_from(partition.fetchq_cnt).unwrap_or_default();
        let records = said.msg_cnt + partitions().map(fetched).sum::<u64>();
        let bytes =
            said.msg_size + partitions().map(|partition| partition.fetchq_size).sum::<u64>();
        self.queue_records.set(number(records));
        self.queue_bytes.set(number(bytes));
        let failed = |broker: &Broker| broker.txerrs + broker.rxerrs + broker.req_timeouts;
        self.errors.absolute(said.brokers.values().map(failed).sum());
    }
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge needs no more than 53 bits")]
fn number(count: u64) -> f64 {
    count as f64
}

/// The time that a worker does not wait for input, in whole seconds as they are complete.
pub(super) struct Busy {
    seconds: Counter,
    /// Everything before is counted.
    since: Cell<Instant>,
    /// What is not a whole second yet.
    rest: Cell<Duration>,
}

impl Busy {
    pub(super) fn new(worker: usize) -> Self {
        let seconds = metrics::counter!(names::WORKER_BUSY, "worker" => worker.to_string());
        Self { seconds, since: Cell::new(Instant::now()), rest: Cell::default() }
    }

    /// Waits for input, which is not work, at most so long. Reading the clock twice is little beside
    /// a wait, and much beside a record: without a wait it is not read.
    pub(super) fn rest<T>(&self, wait: Duration, input: impl FnOnce(Duration) -> T) -> T {
        if wait.is_zero() {
            return input(wait);
        }
        let worked = self.rest.get() + self.since.get().elapsed();
        self.seconds.increment(worked.as_secs());
        self.rest.set(worked - Duration::from_secs(worked.as_secs()));
        let came = input(wait);
        self.since.set(Instant::now());
        came
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_come_from_what_librdkafka_says() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let broker = Broker { txerrs: 1, rxerrs: 2, req_timeouts: 3, ..Broker::default() };
        let said = Statistics {
            msg_cnt: 4,
            msg_size: 50,
            brokers: [("b".to_owned(), broker)].into(),
            ..Statistics::default()
        };
        metrics::with_local_recorder(&recorder, || Figures::new("producer", 1).show(&said));
        let page = recorder.handle().render();
        for line in [
            "lethe_kafka_queue_records{client=\"producer\",worker=\"1\"} 4",
            "lethe_kafka_queue_bytes{client=\"producer\",worker=\"1\"} 50",
            "lethe_kafka_request_errors_total{client=\"producer\",worker=\"1\"} 6",
        ] {
            assert!(page.contains(line), "{page}");
        }
    }
}
