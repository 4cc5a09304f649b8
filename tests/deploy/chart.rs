//! The chart: what it renders is what Kubernetes takes, and what lethe needs.

use std::fs;
use std::path::Path;

use lethe::config::Settings;
use lethe_test_support::process;
use serde::Deserialize as _;
use serde_json::Value;

use crate::files::{list, root, string};
use crate::tools;

const CHART: &str = "helm/lethe";
/// What the chart is rendered for, and checked against.
const KUBERNETES: &str = "1.33.0";
const EVERYTHING: &str = "\
kafka: {properties: {security.protocol: SASL_SSL}, secret: s, tlsSecret: t}
monitoring: {serviceMonitor: true, rules: true, dashboards: true, docsUrl: 'https://docs.example/lethe/'}
autoscaling: {enabled: true}
api: {tokensSecret: lethe-tokens, tlsSecret: lethe-tls}
networkPolicy: {from: [{namespaceSelector: {}}]}
config: {memory: 512MiB, topics: {messages: chat}}
";

/// The objects that the chart makes of these values.
fn rendered(values: &str) -> Vec<Value> {
    let documents = serde_yaml_ng::Deserializer::from_str(&yaml(values))
        .map(|document| Value::deserialize(document).expect("YAML"))
        .collect::<Vec<_>>();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

fn yaml(values: &str) -> String {
    let file = process::directory("values").join("values.yaml");
    fs::write(&file, values).expect("the values");
    let file = file.display().to_string();
    let args = ["template", "test", CHART, "--kube-version", KUBERNETES, "-f", &file];
    tools::must(root(), "helm", args)
}

fn one<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let found = objects.iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

fn pod(objects: &[Value]) -> &Value {
    &one(objects, "StatefulSet")["spec"]["template"]["spec"]
}

/// What lethe makes of the configuration that the chart writes.
fn settings(objects: &[Value]) -> Settings {
    let toml = objects.iter().find_map(|object| object["data"]["lethe.toml"].as_str());
    let file = process::directory("toml").join("lethe.toml");
    fs::write(&file, toml.expect("lethe.toml")).expect("a file");
    Settings::load(Some(&file), [], []).unwrap_or_else(|why| panic!("{why}"))
}

#[test]
fn helm_finds_nothing_to_say() {
    let said =
        tools::must(root(), "helm", ["lint", "--strict", "--kube-version", KUBERNETES, CHART]);
    assert!(said.contains("0 chart(s) failed"), "{said}");
}

#[test]
fn kubernetes_knows_every_field() {
    let dir = process::directory("schemas");
    let schemas = tools::directory()
        .join("python/kubernetes_validate/kubernetes-json-schema")
        .join(format!("v{KUBERNETES}-local-strict"));
    // Their references are made for a server of their publisher.
    let here = format!("\"file://{}/_definitions.json", dir.display());
    for entry in fs::read_dir(&schemas).expect("schemas").flatten() {
        let schema = fs::read_to_string(entry.path()).expect("a schema");
        let schema = schema.replace("\"/api/_definitions.json", &here);
        fs::write(dir.join(entry.file_name()), schema).expect("a schema");
    }
    let schema = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", dir.display());
    for values in ["{}", EVERYTHING] {
        let objects = dir.join("objects.yaml");
        fs::write(&objects, yaml(values)).expect("the objects");
        let objects = objects.display().to_string();
        // The operators' own kinds are looked at below.
        let foreign = "ServiceMonitor,PrometheusRule,ScaledObject";
        let args = ["-strict", "-summary", "-skip", foreign, "-schema-location", &schema, &objects];
        let said = tools::must(root(), "kubeconform", args);
        assert!(said.contains("Invalid: 0, Errors: 0"), "{said}");
    }
}

#[test]
fn processes_have_stable_names_time_to_stop_and_no_rights() {
    let objects = rendered("{}");
    let pod = pod(&objects);
    let container = &pod["containers"][0];
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert!(container["lifecycle"]["preStop"]["sleep"]["seconds"].is_u64());
    assert!(pod["terminationGracePeriodSeconds"].as_u64() >= Some(30));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    assert_eq!(pod["enableServiceLinks"], false);
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(one(&objects, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    for kind in ["ServiceMonitor", "PrometheusRule", "ScaledObject"] {
        assert!(objects.iter().all(|object| object["kind"] != kind), "{kind} is not asked for");
    }
}

#[test]
fn a_pod_leaves_the_group_where_it_is_not_coming_back() {
    for (values, leaves) in [
        ("{}", false),
        ("autoscaling: {enabled: true}", true),
        ("drainOnStop: true", true),
        ("{autoscaling: {enabled: true}, drainOnStop: false}", false),
    ] {
        let objects = rendered(values);
        let stop = &pod(&objects)["containers"][0]["lifecycle"]["preStop"];
        let drains = stop["exec"]["command"]
            == serde_json::json!(["lethe", "drain", "--config", "/etc/lethe/lethe.toml"]);
        assert_eq!((drains, stop["sleep"].is_null()), (leaves, leaves), "{values}: {stop}");
    }
}

#[test]
fn tokens_are_a_secret_that_lethe_reads() {
    let objects = rendered(EVERYTHING);
    let pod = pod(&objects);
    let named = |list_of: &Value, name: &str| {
        list(list_of).iter().find(|entry| entry["name"] == name).cloned().expect(name)
    };
    assert_eq!(named(&pod["volumes"], "tokens")["secret"]["secretName"], "lethe-tokens");
    let mount = named(&pod["containers"][0]["volumeMounts"], "tokens");
    assert!(mount["subPath"].is_null(), "a changed secret would not arrive: {mount}");
    let settings = settings(&objects);
    let file = settings.http_tokens.expect("http_tokens");
    assert_eq!(file.parent(), Some(Path::new(string(&mount["mountPath"]))));
    assert!(rendered("{}").iter().all(|object| !object.to_string().contains("tokens")));
}

#[test]
fn whoever_asks_lethe_speaks_tls_where_it_has_a_certificate() {
    for (values, scheme, scrapes) in [
        ("monitoring: {serviceMonitor: true}", "HTTP", Value::Null),
        (EVERYTHING, "HTTPS", Value::from("https")),
    ] {
        let objects = rendered(values);
        let container = &pod(&objects)["containers"][0];
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["scheme"], scheme, "{probe}");
        }
        let endpoint = &one(&objects, "ServiceMonitor")["spec"]["endpoints"][0];
        assert_eq!(endpoint["scheme"], scrapes);
    }
    let objects = rendered(EVERYTHING);
    let settings = settings(&objects);
    let files = settings.http_tls.expect("a certificate");
    let mounts = &pod(&objects)["containers"][0]["volumeMounts"];
    let mounted = list(mounts).iter().find(|mount| mount["name"] == "api-tls").expect("a mount");
    for file in [Some(files.certificate), Some(files.key), settings.peers_ca].into_iter().flatten()
    {
        assert_eq!(file.parent(), Some(Path::new(string(&mounted["mountPath"]))));
    }
    let authority = &one(&objects, "ServiceMonitor")["spec"]["endpoints"][0]["tlsConfig"]["ca"];
    assert_eq!(authority["secret"], serde_json::json!({"name": "lethe-tls", "key": "ca.crt"}));
    let asks = objects.iter().find(|object| object["kind"] == "Pod").expect("the test's pod");
    assert_eq!(asks["spec"]["containers"][0]["env"][0]["name"], "LETHE_HTTP_CERTIFICATE");
}

#[test]
fn lethe_understands_the_configuration_that_the_chart_writes() {
    for (values, memory, topic) in
        [("{}", 64 << 20, "im.messages"), (EVERYTHING, 512 << 20, "chat")]
    {
        let objects = rendered(values);
        let settings = settings(&objects);
        assert_eq!(settings.http, "0.0.0.0:9644");
        assert_eq!(settings.pipeline.group, "test-lethe");
        assert_eq!(settings.pipeline.topics.messages, topic);
        assert_eq!(settings.pipeline.cache_bytes + settings.pipeline.write_buffer_bytes, memory);
    }
}

#[test]
fn monitoring_has_the_rules_the_dashboards_and_the_group() {
    let objects = rendered(EVERYTHING);
    let groups = list(&one(&objects, "PrometheusRule")["spec"]["groups"]);
    assert_eq!(groups.len(), 2);
    let link = string(&groups[1]["rules"][0]["annotations"]["runbook_url"]);
    assert_eq!(link, "https://docs.example/lethe/runbook.md#lethedown");
    let endpoint = &one(&objects, "ServiceMonitor")["spec"]["endpoints"][0];
    assert_eq!(endpoint["relabelings"][0]["replacement"], "test-lethe");
    assert_eq!(endpoint["metricRelabelings"][0]["regex"], "lethe_tenant_.*");
    let is_board = |object: &&Value| object["metadata"]["labels"]["grafana_dashboard"] == "1";
    let boards: Vec<&Value> = objects.iter().filter(is_board).collect();
    assert_eq!(boards.len(), 3);
    for board in boards {
        let json = board["data"].as_object().and_then(|data| data.values().next());
        let json: Value = serde_json::from_str(string(json.expect("a file"))).expect("JSON");
        assert!(!json.to_string().contains("/public/lethe"), "{}", json["title"]);
    }
    let scaled = &one(&objects, "ScaledObject")["spec"];
    assert_eq!(scaled["scaleTargetRef"]["name"], one(&objects, "StatefulSet")["metadata"]["name"]);
    assert_eq!(list(&scaled["triggers"]).len(), 3);
    assert!(one(&objects, "StatefulSet")["spec"]["replicas"].is_null());
}

#[test]
fn values_that_nobody_knows_are_refused() {
    for wrong in ["replica: 3", "replicas: none", "kafka: {broker: x}"] {
        let file = process::directory("wrong").join("values.yaml");
        fs::write(&file, wrong).expect("the values");
        let file = file.display().to_string();
        let args = ["template", "test", CHART, "--kube-version", KUBERNETES, "-f", &file];
        let refused = tools::run(root(), "helm", args).expect_err(wrong);
        assert!(refused.contains("values don't meet the specifications"), "{wrong}: {refused}");
    }
}
