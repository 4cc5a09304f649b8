//! The files under test, read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lethe::telemetry::names::METRICS;
use serde_json::Value;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A YAML file as JSON.
pub(crate) fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of a directory whose names end like this.
pub(crate) fn listed(dir: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(dir)).unwrap_or_else(|error| panic!("{dir}: {error}"));
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    assert!(!paths.is_empty(), "{dir} has no *{ending}");
    paths
}

/// The dashboards by the names of their files.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let read = |path: PathBuf| {
        let name = path.display().to_string();
        let json = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let json = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, json)
    };
    listed("helm/lethe/dashboards", ".json").into_iter().map(read).collect()
}

/// The rules of the rules file: alerts and recorded series.
pub(crate) fn rules() -> Vec<Value> {
    let file = yaml("helm/lethe/rules/lethe.yaml");
    let groups = list(&file["groups"]).iter();
    groups.flat_map(|group| list(&group["rules"]).clone()).collect()
}

pub(crate) fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("a list is expected: {value}"))
}

pub(crate) fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("text is expected: {value}"))
}

/// The anchors of the runbook's entries.
pub(crate) fn runbook() -> BTreeSet<String> {
    let page = text("docs/runbook.md");
    page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_lowercase).collect()
}

/// Every metric that an expression names is in the table or is recorded.
pub(crate) fn check_names(place: &str, expr: &str) {
    let recorded: BTreeSet<String> =
        rules().iter().filter_map(|rule| rule["record"].as_str().map(str::to_owned)).collect();
    let is_sign = |sign: char| sign.is_ascii_alphanumeric() || sign == '_' || sign == ':';
    for word in expr.split(|sign| !is_sign(sign)) {
        if word.starts_with("lethe:") {
            let known = recorded.contains(word) || word == "lethe:other";
            assert!(known, "{place}: {word} is not recorded by the rules");
        } else if word.starts_with("lethe_") || word.starts_with("process_") {
            let name = word.strip_suffix("_bucket").unwrap_or(word);
            let known = METRICS.iter().any(|metric| metric.name == name);
            assert!(known, "{place}: {word} is not a metric of lethe");
        }
    }
}
