//! Every query of the dashboards and rules, in a real Prometheus that scrapes a real lethe under load.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lethe::telemetry::names::METRICS;
use lethe_test_support::broker::{Broker, Version, free_port};
use lethe_test_support::bus::{Bus, Put};
use lethe_test_support::event::{Message, config_set, profile_updated};
use lethe_test_support::http;
use lethe_test_support::lethe::{Lethe, Setup, verb};
use lethe_test_support::process::{self, Process};
use lethe_test_support::wait::eventually;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::dashboards::panels;
use crate::files::{dashboards, list, root, rules, string};
use crate::tools;

/// Metrics that a healthy process under load leaves at 0.
const RIGHTLY_ZERO: [&str; 28] = [
    "lethe_expiry_lag_seconds",
    "lethe_unmatched_events_total",
    "lethe_control_refused_total",
    "lethe_clock_difference_seconds",
    "lethe_consumer_lag_records",
    "lethe_restored_records_total",
    "lethe_restore_remaining_records",
    "lethe_snapshot_age_seconds",
    "lethe_snapshot_stall_seconds",
    "lethe_kept_records",
    "lethe_holds",
    "lethe_changes_waiting",
    "lethe_change_due_seconds",
    "lethe_sweeps",
    "lethe_erasure_age_seconds",
    "lethe_standbys",
    "lethe_standby_partitions",
    "lethe_standby_lag_records",
    "lethe_changelog_removals_total",
    "lethe_replay_records_total",
    "lethe_replay_partitions",
    "lethe_replay_remaining_records",
    "lethe_worker_silence_seconds",
    "lethe_kafka_queue_records",
    "lethe_kafka_queue_bytes",
    "lethe_kafka_request_errors_total",
    "lethe_rocksdb_compaction_pending_bytes",
    "lethe_rocksdb_stalled_partitions",
];
/// Metrics that have no series before something has happened that has not here.
const RIGHTLY_ABSENT: [&str; 1] = ["lethe_changelog_removals_total"];

const PROGRAM: &str = env!("CARGO_BIN_EXE_lethe");
/// Messages of one turn of the load.
const BATCH: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn every_query_gives_data_and_what_is_killed_is_noticed() {
    let bus = Bus::new(Broker::shared(Version::V4), "deploy.live", 2);
    for tenant in ["in0", "in1"] {
        let choice = json!({"storage": "in", "retention": "2s"});
        bus.control(&format!("tenant/{tenant}"), &json!({"message": choice, "profile": choice}));
    }
    let mut lethe = Setup::new(PROGRAM, &bus, "live").run();
    assert_eq!(health(&lethe, &["--ready"]).0, 0);
    let prometheus = Prometheus::start(&lethe.address());
    under_load(&bus, || {
        every_metric_moves(&lethe);
        for (what, query) in queries() {
            eventually(&what, || prometheus.has(&query));
        }
        for (what, path) in variables() {
            eventually(&what, || prometheus.lists(&path));
        }
    });
    let kept = "lethe:on_time:bool == 1";
    eventually("deletions are on time", || prometheus.has(kept));
    lethe.kill();
    let (code, said) = health(&lethe, &[]);
    assert!(code == 1 && said.contains("/livez"), "{said}");
    for alert in ["LetheDown", "LetheInstanceDown"] {
        eventually(alert, || prometheus.has(&format!("ALERTS{{alertname=\"{alert}\"}}")));
    }
    eventually("deletions are no longer on time", || prometheus.has("lethe:on_time:bool == 0"));
}

/// What `lethe health` says: its exit code and its error.
fn health(lethe: &Lethe, flags: &[&str]) -> (i32, String) {
    let address = lethe.address();
    let (code, _, error) = verb(PROGRAM, &[&["health", "--http", &address], flags].concat());
    (code, error)
}

/// The queries of panels and rules, with the variables set to "all".
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in list(&panel["targets"]) {
                let mut query = string(&target["expr"]).to_owned();
                for variable in ["$group", "$instance", "$tenant"] {
                    query = query.replace(variable, ".*");
                }
                assert!(!query.contains('$'), "{query} has a variable that the test does not know");
                queries.push((format!("{name}: {}: {query}", string(&panel["title"])), query));
            }
        }
    }
    for rule in rules().iter().filter(|rule| rule["record"].is_string()) {
        let name = string(&rule["record"]);
        queries.push((format!("the recorded series {name}"), name.to_owned()));
    }
    let absent = |query: &str| RIGHTLY_ABSENT.iter().any(|name| query.contains(name));
    queries.retain(|(_, query)| !absent(query));
    queries
}

/// The paths that list what each query variable offers.
fn variables() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for (name, dashboard) in dashboards() {
        let variables = list(&dashboard["templating"]["list"]).iter();
        for variable in variables.filter(|variable| variable["type"] == "query") {
            let query = string(&variable["query"]["query"]).replace("$group", ".*");
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (of, label) =
                inner.and_then(|inner| inner.rsplit_once(", ")).expect("label_values");
            let of = utf8_percent_encode(of, NON_ALPHANUMERIC);
            let what = format!("{name}: the variable {}", string(&variable["name"]));
            paths.push((what, format!("/api/v1/label/{label}/values?match[]={of}")));
        }
    }
    paths
}

/// No metric of the table is only described.
fn every_metric_moves(lethe: &Lethe) {
    for metric in METRICS {
        let name = match metric.kind.name() {
            "histogram" => format!("{}_count", metric.name),
            _ => metric.name.to_owned(),
        };
        if RIGHTLY_ABSENT.contains(&metric.name) {
            continue;
        }
        eventually(&name, || match lethe.metric(&name, &[]) {
            Some(value) if value != 0.0 || RIGHTLY_ZERO.contains(&metric.name) => Ok(()),
            value => Err(format!("{value:?}")),
        });
    }
    let (_, page) = lethe.get("/metrics").expect("/metrics answers");
    for line in page.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap_or_default();
        assert!(METRICS.iter().any(|metric| metric.name == name), "{name} is not in the table");
    }
}

/// Sends events of several tenants until the case is through: stored, delivered, recalled, broken.
fn under_load(bus: &Bus<'_>, case: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                send(bus, turn);
                turn += 1;
                thread::sleep(PAUSE);
            }
        });
        let _stopper = StopAtEnd(&stop);
        case();
    });
}

fn send(bus: &Bus<'_>, turn: usize) {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let now_ms = i64::try_from(now_ms).expect("before 9999");
    let mut events = vec![b"\xff".to_vec()];
    for number in 0..BATCH {
        let tenant = ["in0", "in1", "out"][number % 3];
        let message = Message::new(tenant, "c", &format!("{turn}-{number}"), now_ms);
        events.push(message.sent(b"content"));
        events.push(if number % 5 == 0 { message.recalled() } else { message.delivered("bob") });
    }
    let put = |value| Put { partition: 0, key: "c", value: Some(value), headers: &[] };
    bus.put_all("im.messages", events.iter().map(|event| put(event.as_slice())));
    let profile = profile_updated("in0", "u", now_ms, b"content");
    bus.put("im.profiles", put(&profile));
    let config = config_set("out", "i", now_ms, b"content");
    bus.put("im.configs", put(&config));
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A Prometheus that scrapes one process every second.
struct Prometheus {
    address: String,
    _process: Process,
}

impl Prometheus {
    fn start(target: &str) -> Self {
        let dir = process::directory("prometheus");
        let rules = root().join("helm/lethe/rules/lethe.yaml");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{}]\n\
             scrape_configs:\n  - job_name: lethe\n    static_configs:\n      - targets: [{target:?}]\n        \
             labels: {{group: test}}\n",
            rules.display()
        );
        fs::write(dir.join("prometheus.yml"), config).expect("a configuration file");
        let address = format!("127.0.0.1:{}", free_port());
        let program = tools::find("prometheus");
        let mut command = process::command(&program.display().to_string());
        command.arg(format!("--config.file={}", dir.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let log = fs::File::create(dir.join("log")).expect("a log");
        command.stderr(log.try_clone().expect("a log")).stdout(log);
        Self { address, _process: Process::start("prometheus", command) }
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        let http::Answer { status, body, .. } = http::request("GET", &self.address, path, &[], "")?;
        let answer: Value =
            serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        if status == 200 { Ok(answer["data"].clone()) } else { Err(format!("{status}: {body}")) }
    }

    /// The query gives at least one number.
    fn has(&self, query: &str) -> Result<(), String> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let data = self.get(&format!("/api/v1/query?query={query}"))?;
        let values = list(&data["result"]).iter().map(|series| string(&series["value"][1]));
        let values: Vec<&str> = values.collect();
        if values.iter().any(|value| *value != "NaN") { Ok(()) } else { Err(format!("{values:?}")) }
    }

    /// The path lists at least one value.
    fn lists(&self, path: &str) -> Result<(), String> {
        let data = self.get(path)?;
        if list(&data).is_empty() { Err("nothing".to_owned()) } else { Ok(()) }
    }
}
