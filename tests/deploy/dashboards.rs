//! The dashboards as files: what Grafana's schema knows, no overlaps, and nothing left unexplained.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::files::{check_names, dashboards, list, root, runbook, string};
use crate::tools;

/// Grafana's grid has so many columns.
const COLUMNS: u64 = 24;
/// Where docker compose lets Grafana serve the documentation; the chart puts another place here.
const RUNBOOK: &str = "/public/lethe/runbook.md";

#[test]
fn grafanas_schema_knows_every_field() {
    let paths = dashboards().into_iter().map(|(path, _)| path);
    let args = std::iter::once("tests/deploy/schema.py".to_owned()).chain(paths);
    let said = tools::must(root(), "python3", args);
    assert_eq!(said.lines().count(), dashboards().len(), "{said}");
}

#[test]
fn panels_have_their_own_ids_and_places() {
    for (name, dashboard) in dashboards() {
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in list(&dashboard["panels"]) {
            let title = format!("{name}: {}", string(&panel["title"]));
            assert!(
                ids.insert(panel["id"].as_u64().expect("an id")),
                "{title}: its id is used twice"
            );
            let place = |of: &str| panel["gridPos"][of].as_u64().expect("a place");
            assert!(place("x") + place("w") <= COLUMNS, "{title} is too far to the right");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{title} lies over another panel");
                }
            }
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_where_to_read_on() {
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let title = format!("{name}: {}", string(&panel["title"]));
            assert!(string(&panel["description"]).ends_with('.'), "{title}: a description");
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(!string(&defaults["unit"]).is_empty(), "{title}: a unit");
            assert!(!list(&defaults["thresholds"]["steps"]).is_empty(), "{title}: thresholds");
            let url = string(&list(&panel["links"])[0]["url"]);
            let anchor = url.strip_prefix(RUNBOOK).unwrap_or_else(|| panic!("{title}: {url}"));
            let known = anchor.is_empty() || runbook().contains(anchor.trim_start_matches('#'));
            assert!(known, "{title}: the runbook has no {anchor}");
        }
    }
}

#[test]
fn variables_choose_the_data_source_the_group_and_more() {
    let expected: [&[&str]; 3] = [
        &["datasource", "group", "instance"],
        &["datasource", "group"],
        &["datasource", "group", "tenant"],
    ];
    for ((name, dashboard), expected) in dashboards().iter().zip(expected) {
        let variables = list(&dashboard["templating"]["list"]);
        let names: Vec<&str> = variables.iter().map(|variable| string(&variable["name"])).collect();
        assert_eq!(names, expected, "{name}");
        for panel in panels(dashboard) {
            for target in list(&panel["targets"]) {
                let expr = string(&target["expr"]);
                let title = format!("{name}: {}", string(&panel["title"]));
                assert_eq!(string(&target["datasource"]["uid"]), "${datasource}", "{title}");
                assert!(expr.contains("group=~\"$group\""), "{title} is of all groups: {expr}");
                check_names(&title, expr);
            }
        }
    }
}

#[test]
fn only_the_tenants_dashboard_shows_tenants() {
    let dashboards = dashboards();
    let uids: BTreeSet<&str> = dashboards.iter().map(|(_, json)| string(&json["uid"])).collect();
    assert_eq!(uids.len(), dashboards.len());
    for (name, dashboard) in &dashboards {
        let shows = panels(dashboard).any(|panel| panel["targets"].to_string().contains("tenant"));
        assert_eq!(shows, dashboard["uid"] == "lethe-tenants", "{name}");
    }
}

/// The panels that show something.
pub(crate) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row")
}
