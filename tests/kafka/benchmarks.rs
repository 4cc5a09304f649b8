//! Each benchmark, small: it does its work and says so. How fast is nobody's business here.

use lethe_test_support::broker::Broker;
use lethe_test_support::lethe::verb;
use lethe_test_support::process;
use serde_json::Value;

use crate::Version;
use crate::world::PROGRAM;

/// Runs a benchmark on the shared broker, and gives what it printed as JSON.
fn bench(name: &str, args: &[&str]) -> Value {
    rounds("2", name, args)
}

/// The same, for so many rounds.
fn rounds(count: &str, name: &str, args: &[&str]) -> Value {
    let brokers = Broker::shared(Version::V4).address();
    let scratch = process::directory(&format!("bench-{name}")).display().to_string();
    let place = ["--brokers", &brokers, "--json"];
    let measuring = ["--workers", "2", "--rounds", count, "--scratch", &scratch];
    let measuring: &[&str] = if name == "load" { &[] } else { &measuring };
    let (code, json, errors) = verb(PROGRAM, &[&["bench", name], args, &place, measuring].concat());
    assert_eq!(code, 0, "{errors}");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn number(of: &Value, pointer: &str) -> f64 {
    let number = of.pointer(pointer).and_then(Value::as_f64);
    number.unwrap_or_else(|| panic!("no number at {pointer} of {of}"))
}

/// What every run says of itself.
fn has_worked(measured: &Value, records: f64) {
    for program in ["floor", "lethe"] {
        let figure = |name: &str| number(measured, &format!("/{program}/{name}"));
        assert_eq!(figure("records"), records, "{program} of {measured}");
        for name in ["cpu_us_a_record", "records_a_second", "memory_mib"] {
            assert!(figure(name) > 0.0, "{program} has no {name}: {measured}");
        }
    }
}

fn compares(compared: &Value, floor: &str, records: f64) {
    assert_eq!(compared.pointer("/floor_is").and_then(Value::as_str), Some(floor));
    let rounds = compared.pointer("/rounds").and_then(Value::as_array).cloned().unwrap_or_default();
    assert_eq!(rounds.len(), 2, "{compared}");
    for round in rounds.iter().chain(compared.pointer("/median")) {
        has_worked(round, records);
    }
    assert!(number(compared, "/cpu_ratio") > 0.0 && number(compared, "/speed_ratio") > 0.0);
}

#[test]
fn compare_measures_the_floor_and_lethe_over_one_load() {
    let small = ["--messages", "5000", "--bytes", "64", "--partitions", "2"];
    let mixed = ["--tenants", "7", "--opted-in", "4", "--skew", "0.5", "--conversations", "9"];
    let said = ["--overrides", "2", "--holds", "3", "--recalled", "3", "--edited", "2"];
    let compared = bench("compare", &[&small[..], &mixed, &said].concat());
    let records = number(&compared, "/rounds/0/floor/records");
    assert!(records > 10_000.0, "sent, delivered, and some edited or recalled: {compared}");
    compares(&compared, "pass-through", records);
}

#[test]
fn process_measures_what_load_has_written() {
    let world = lethe_test_support::bus::Bus::new(Broker::shared(Version::V4), "bench.given", 2);
    let config = process::directory("bench-given").join("lethe.toml");
    let topic = |name: &str| world.topic(name);
    let settings = format!(
        "[topics]\nmessages = '{}'\nprofiles = '{}'\nconfigs = '{}'\ncontrol = '{}'\n",
        topic("im.messages"),
        topic("im.profiles"),
        topic("im.configs"),
        topic("lethe.control"),
    );
    std::fs::write(&config, settings).unwrap_or_else(|error| panic!("{error}"));
    let config = config.display().to_string();
    let given = ["--config", &config];
    let what = ["--messages", "2000", "--groups", "--bytes", "kind", "--rate", "20000"];
    let loaded = bench("load", &[&given[..], &what].concat());
    let records = number(&loaded, "/records");
    assert!(records > 4_000.0, "groups deliver to each member: {loaded}");
    assert_eq!(number(&loaded, "/controls"), 100.0);
    assert!(number(&loaded, "/seconds") >= (records - 1.0) / 20_000.0, "not faster than asked");
    compares(&bench("process", &given), "pass-through", records);
}

#[test]
fn expire_measures_records_that_are_due_at_once_beside_the_same_nulls() {
    let small = ["--records", "5000", "--bytes", "64", "--tenants", "7", "--partitions", "2"];
    compares(&bench("expire", &small), "nulls", 5_000.0);
}

#[test]
fn latency_counts_every_content_of_its_time() {
    let small = ["--rate", "2000", "--seconds", "2", "--warm-up", "1", "--bytes", "64"];
    let measured =
        bench("latency", &[&small[..], &["--partitions", "2", "--undelivered"]].concat());
    for program in ["/median/floor", "/median/lethe", "/rounds/1/lethe"] {
        let figure = |name: &str| number(&measured, &format!("{program}/{name}"));
        assert_eq!(figure("contents"), 4_000.0, "{measured}");
        let ordered = ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"].map(figure);
        assert!(ordered.is_sorted() && ordered.iter().all(|&ms| ms > 0.0), "{measured}");
        // Half of them wait for half of a commit interval, whatever else happens.
        assert!(figure("p50_ms") > 25.0, "{measured}");
        assert!(figure("cpu_us_a_record") > 0.0 && figure("memory_mib") > 0.0);
    }
}

/// A change, alone and beside a live load of which something was measured before and meanwhile.
fn changes(verb: &str, records: &str) -> Value {
    let small = ["--records", records, "--conversations", "4", "--partitions", "2"];
    let load = ["--rate", "2000", "--seconds", "2", "--warm-up", "1"];
    let changed = rounds("1", verb, &[&small[..], &load].concat());
    for (part, names) in [
        ("alone", &["ended", "seconds", "ended_a_second"][..]),
        ("beside", &["ended", "seconds", "ended_a_second"]),
        ("before", &["contents", "p50_ms", "p99_ms", "max_ms"]),
        ("during", &["contents", "p50_ms", "p99_ms", "max_ms"]),
    ] {
        for name in names {
            assert!(number(&changed, &format!("/rounds/0/{part}/{name}")) > 0.0, "{changed}");
        }
    }
    assert!(number(&changed, "/p99_ratio") > 0.0);
    changed
}

#[test]
fn cut_ends_all_that_a_tenant_has() {
    let changed = changes("cut", "5000");
    for part in ["alone", "beside"] {
        assert_eq!(number(&changed, &format!("/median/{part}/ended")), 5_000.0, "{changed}");
    }
}

#[test]
fn erase_ends_what_one_user_has_sent() {
    let changed = changes("erase", "4000");
    for part in ["alone", "beside"] {
        // Of eight conversations with a sender each.
        let ended = number(&changed, &format!("/median/{part}/ended"));
        assert!((400.0..600.0).contains(&ended), "{changed}");
    }
}

#[test]
fn replay_reads_everything_again_alone_and_beside_a_load() {
    let small = ["--messages", "3000", "--bytes", "64", "--partitions", "2"];
    let load = ["--rate", "2000", "--seconds", "2", "--warm-up", "1"];
    let replays = rounds("1", "replay", &[&small[..], &load].concat());
    assert_eq!(number(&replays, "/records"), 6_000.0);
    for name in ["live", "alone", "beside"] {
        assert!(number(&replays, &format!("/median/{name}_records_a_second")) > 0.0, "{replays}");
    }
    for part in ["before", "during"] {
        assert!(number(&replays, &format!("/rounds/0/{part}/contents")) > 0.0, "{replays}");
    }
    assert!(number(&replays, "/p99_ratio") > 0.0 && number(&replays, "/speed_ratio") > 0.0);
}

#[test]
fn growth_measures_each_point_and_draws_it() {
    let svg = process::directory("bench-growth").join("overrides.svg");
    let path = svg.display().to_string();
    let small = ["--over", "overrides", "--points", "0,3", "--messages", "1000", "--svg", &path];
    let grown = bench("growth", &small);
    let points = grown.pointer("/points").and_then(Value::as_array).cloned().unwrap_or_default();
    assert_eq!(points.len(), 2, "{grown}");
    for (point, at) in points.iter().zip([0.0, 3.0]) {
        assert_eq!(number(point, "/at"), at);
        compares(point.pointer("/measured").unwrap_or(point), "pass-through", 2_000.0);
    }
    let svg = std::fs::read_to_string(svg).unwrap_or_default();
    assert!(svg.starts_with("<svg") && svg.contains("pass-through"), "{svg}");
}

#[test]
fn state_remembers_and_ends_each_record() {
    let scratch = process::directory("bench-state").display().to_string();
    let (code, json, errors) = verb(
        PROGRAM,
        &[
            "bench",
            "state",
            "--records",
            "20000,40000",
            "--rounds",
            "2",
            "--scratch",
            &scratch,
            "--json",
        ],
    );
    assert_eq!(code, 0, "{errors}");
    let sizes: Vec<Value> = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(sizes.len(), 2, "{json}");
    for (size, records) in sizes.iter().zip([20_000.0, 40_000.0]) {
        assert_eq!(number(size, "/median/records"), records);
        let figure = |name: &str| number(size, &format!("/median/{name}"));
        for name in ["put/cpu_us_a_record", "expire/cpu_us_a_record", "delta_bytes_a_record"] {
            assert!(figure(name) > 0.0, "{name}: {json}");
        }
        // Some bytes an id at least, and nothing of what has ended.
        let (live, left) = (figure("compacted_bytes_a_record"), figure("left_bytes_a_record"));
        assert!(live > 8.0 && left < live / 2.0, "{json}");
    }
}
