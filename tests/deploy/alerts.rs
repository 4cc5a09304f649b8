//! The alerts: they fire when they should (promtool), and each says what to do.

use std::collections::BTreeSet;

use crate::files::{check_names, root, rules, runbook, string, text};
use crate::tools;

const RULES: &str = "helm/lethe/rules/lethe.yaml";

#[test]
fn prometheus_understands_the_rules() {
    let said = tools::must(root(), "promtool", ["check", "rules", RULES]);
    assert!(said.contains(&format!("{} rules found", rules().len())), "{said}");
}

#[test]
fn each_history_brings_its_alerts_and_no_others() {
    tools::must(root(), "promtool", ["test", "rules", "tests/deploy/alerts.yaml"]);
    let histories = text("tests/deploy/alerts.yaml");
    for alert in alerts() {
        let fires = format!("alertname=\"{alert}\"");
        assert!(histories.contains(&fires), "no history in which {alert} fires");
    }
}

#[test]
fn each_alert_has_a_severity_and_an_entry_in_the_runbook() {
    for rule in rules().iter().filter(|rule| rule["alert"].is_string()) {
        let name = string(&rule["alert"]);
        let severity = string(&rule["labels"]["severity"]);
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        for annotation in ["summary", "description"] {
            assert!(!string(&rule["annotations"][annotation]).is_empty(), "{name}: {annotation}");
        }
        let link = format!("docs/runbook.md#{}", name.to_lowercase());
        assert_eq!(string(&rule["annotations"]["runbook_url"]), link, "{name}");
        check_names(name, string(&rule["expr"]));
    }
    let expected: BTreeSet<String> = alerts().iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(runbook(), expected, "the runbook has an entry for each alert and no others");
}

#[test]
fn the_runbook_says_the_same_severity_and_what_to_do() {
    let page = text("docs/runbook.md");
    for rule in rules().iter().filter(|rule| rule["alert"].is_string()) {
        let name = string(&rule["alert"]);
        let entry = page.split("\n## ").find(|entry| entry.starts_with(&format!("{name}\n")));
        let entry = entry.unwrap_or_else(|| panic!("{name} has no entry"));
        let severity = string(&rule["labels"]["severity"]);
        let severity = format!("**{}{}.**", severity[..1].to_uppercase(), &severity[1..]);
        assert!(entry.contains(&severity), "{name} is {severity}:\n{entry}");
        assert!(entry.contains("*Do:*") || entry.contains("*Look at, do:*"), "{entry}");
    }
}

#[test]
fn what_is_recorded_carries_no_tenant() {
    for rule in rules().iter().filter(|rule| rule["record"].is_string()) {
        let (name, expr) = (string(&rule["record"]), string(&rule["expr"]));
        assert!(!expr.contains("tenant"), "{name}: {expr}");
        check_names(name, expr);
    }
}

fn alerts() -> Vec<String> {
    rules().iter().filter_map(|rule| rule["alert"].as_str().map(str::to_owned)).collect()
}
