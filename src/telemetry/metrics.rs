//! Prometheus: the recorder behind the `metrics` macros, and its text.

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::health::Health;
use super::names::{self, Kind, METRICS};
use super::process;
use super::tenants::Tenants;

/// Installs the recorder and describes every metric of the table.
///
/// # Errors
/// A recorder is there already: a process has one.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    describe();
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        match metric.kind {
            Kind::Histogram(bounds) => {
                let name = Matcher::Full(metric.name.to_owned());
                builder = builder.set_buckets_for_metric(name, bounds)?;
            }
            Kind::Counter | Kind::Gauge => {}
        }
    }
    Ok(builder)
}

/// Describes the metrics, and sets those that hold from the start.
fn describe() {
    for metric in METRICS {
        match (metric.kind, metric.unit) {
            (Kind::Counter, Some(unit)) => describe_counter!(metric.name, unit, metric.help),
            (Kind::Counter, None) => describe_counter!(metric.name, metric.help),
            (Kind::Gauge, Some(unit)) => describe_gauge!(metric.name, unit, metric.help),
            (Kind::Gauge, None) => describe_gauge!(metric.name, metric.help),
            (Kind::Histogram(_), Some(unit)) => describe_histogram!(metric.name, unit, metric.help),
            (Kind::Histogram(_), None) => describe_histogram!(metric.name, metric.help),
        }
    }
    metrics::gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics::gauge!(names::CONTROL_TRUSTED).set(1.0);
    metrics::gauge!(names::EXPIRY_LAG).set(0.0);
    metrics::counter!(names::CONTROL_REFUSED).absolute(0);
}

/// The text that Prometheus reads; what health knows is as of now.
#[must_use]
pub fn render(handle: &PrometheusHandle, health: &Health, tenants: &Tenants) -> String {
    let now = health.snapshot();
    for (state, count) in
        [("assigned", now.partitions_assigned), ("restored", now.partitions_restored)]
    {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        metrics::gauge!(names::PARTITIONS, "state" => state).set(count);
    }
    metrics::gauge!(names::WORKER_SILENCE).set(health.silence().as_secs_f64());
    handle.run_upkeep();
    let mut page = handle.render();
    tenants.render(&mut page);
    process::render(&mut page);
    page
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test is the point")]

    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn what_is_described_is_what_prometheus_sees() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        let text = metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::counter!(names::RECORDS, "topic" => "t", "outcome" => "over").increment(2);
            metrics::histogram!(names::COMMIT_TIME).record(0.07);
            render(&handle, &Health::new(1), &Tenants::new(1))
        });
        assert!(text.contains("lethe_records_total{topic=\"t\",outcome=\"over\"} 2"), "{text}");
        assert!(text.contains("# TYPE lethe_records_total counter"), "{text}");
        assert!(text.contains("# HELP lethe_expiry_lag_seconds How overdue"), "{text}");
        assert!(text.contains("lethe_control_trusted 1"), "{text}");
        assert!(text.contains("lethe_commit_seconds_bucket{le=\"0.05\"} 0\n"), "{text}");
        assert!(text.contains("lethe_commit_seconds_bucket{le=\"0.1\"} 1\n"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        assert!(text.contains("lethe_partitions{state=\"assigned\"} 0"), "{text}");
    }

    #[test]
    fn names_follow_prometheus_and_are_used_once() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let prefixes = ["lethe_", "process_"];
            let known = prefixes.iter().any(|prefix| metric.name.starts_with(prefix));
            assert!(known, "{}", metric.name);
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == Kind::Counter, "{}", metric.name);
        }
    }

    #[test]
    fn the_documentation_lists_every_metric() {
        let mut table = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
        for metric in METRICS {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, labels) = (metric.name, metric.kind.name(), labels.join(", "));
            writeln!(table, "| `{name}` | {kind} | {labels} | {} |", metric.help).unwrap();
        }
        let page = include_str!("../../docs/metrics.md");
        assert!(page.contains(&table), "docs/metrics.md must contain:\n{table}");
    }
}
