//! docker compose and the image, as far as can be told without a container engine.

use crate::files::{list, root, string, text, yaml};
use crate::tools;

#[test]
fn the_compose_file_is_one() {
    tools::must(root(), "compose-check", ["docker-compose.yml"]);
    let file = yaml("docker-compose.yml");
    for (name, service) in file["services"].as_object().expect("services") {
        let image = service["image"].as_str().or(service["<<"]["image"].as_str());
        let tag = image.and_then(|image| image.rsplit_once(':')).map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{name} is not pinned: {image:?}");
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let from = string(mount).split(':').next().unwrap_or_default();
            let there = from.strip_prefix("./").is_none_or(|path| root().join(path).exists());
            assert!(there, "{name} mounts {from}, which is not there");
        }
    }
}

#[test]
fn the_admin_api_is_closed_until_a_token_is_named() {
    let file = yaml("docker-compose.yml");
    let service = &file["services"]["lethe"];
    assert_eq!(service["environment"]["LETHE_HTTP_TOKENS"], "/run/secrets/tokens");
    assert_eq!(service["secrets"][0], "tokens");
    let tokens = text(string(&file["secrets"]["tokens"]["file"]));
    assert!(tokens.lines().all(|line| line.starts_with('#')), "{tokens}");
}

#[test]
fn prometheus_understands_its_configurations() {
    for file in ["compose/prometheus.yml", "compose/prometheus-tenants.yml"] {
        tools::must(root(), "promtool", ["check", "config", "--syntax-only", file]);
    }
    let keeps = |file: &str| yaml(file)["scrape_configs"][0]["metric_relabel_configs"].clone();
    assert_eq!(list(&keeps("compose/prometheus.yml"))[0]["action"], "drop");
    assert_eq!(list(&keeps("compose/prometheus-tenants.yml"))[0]["action"], "keep");
    assert!(text("docker-compose.yml").contains("--storage.tsdb.retention.time=2d"));
}

#[test]
fn the_dockerfile_is_sound_and_does_not_run_as_root() {
    tools::must(root(), "hadolint", ["Dockerfile"]);
    let file = text("Dockerfile");
    let last = file.rsplit("\nFROM ").next().unwrap_or_default();
    assert!(last.contains("\nUSER 65532"), "{last}");
}
