//! The API against its own OpenAPI document: schemathesis asks what the document allows and what it forbids, and
//! compares the answers with it.

use std::process::Command;

use lethe_test_support::broker::{Broker, Version};
use lethe_test_support::bus::Bus;
use lethe_test_support::lethe::Setup;
use lethe_test_support::process;

use crate::tools;

/// How many requests of each kind each operation gets.
const EXAMPLES: &str = "15";
/// Below what the API lets one caller ask.
const RATE: &str = "18/s";
/// What the document cannot say, and would have to for these: which ids exist, which times contradict each other, and
/// that a change says what it replaces by one of two headers.
const NOT_SAID: &str = "positive_data_acceptance,missing_required_header";

#[test]
fn the_api_answers_as_its_document_says() {
    let bus = Bus::new(Broker::shared(Version::V4), "deploy.api", 2);
    let mut lethe = Setup::new(env!("CARGO_BIN_EXE_lethe"), &bus, "api").run();
    let document = format!("http://{}/v1/openapi.json", lethe.address());
    let mut command = Command::new("python3");
    command.current_dir(process::directory("schemathesis"));
    command.env("PYTHONPATH", tools::directory().join("schemathesis"));
    command.args(["-m", "schemathesis.cli", "run", &document, "--no-color"]);
    command.args(["--phases", "examples,fuzzing", "--max-examples", EXAMPLES]);
    command.args(["--generation-deterministic", "--rate-limit", RATE]);
    command.args(["--exclude-checks", NOT_SAID]);
    let output = command.output().expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("27 selected / 27 total"), "{said}");
    assert!(lethe.is_running(), "whatever it was asked");
}
