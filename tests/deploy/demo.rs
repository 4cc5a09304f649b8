//! The demo as its audience has it: it ends with every rule held, and serves the status page meanwhile.

use std::fs::{self, File};

use lethe_test_support::broker::free_port;
use lethe_test_support::http;
use lethe_test_support::process::{self, Process};
use lethe_test_support::wait::eventually;
use serde_json::Value;

#[test]
fn every_rule_holds_and_the_page_says_so_meanwhile() {
    let address = format!("127.0.0.1:{}", free_port());
    let said = process::directory("demo").join("said.json");
    let mut command = process::command(env!("CARGO_BIN_EXE_lethe"));
    command.args(["demo", "--seconds", "5", "--json", "--http", &address]);
    command.stdout(File::create(&said).expect("a file"));
    let mut demo = Process::start("lethe demo", command);
    eventually("the page of a demo that works", || {
        let page = http::request("GET", &address, "/", &[], "")?.body;
        // Its dead letters are to be looked at, so that the headline is that all is kept, or that and a look.
        if page.contains("flowing") { Ok(()) } else { Err(page) }
    });
    assert!(demo.wait().success(), "{}", fs::read_to_string(&said).unwrap_or_default());
    let said = fs::read_to_string(&said).expect("what it said");
    let summary: Value = serde_json::from_str(&said).unwrap_or_else(|why| panic!("{why}: {said}"));
    assert_eq!(summary["held"], true, "{said}");
    assert!(summary["records_in"].as_u64() > Some(100), "{said}");
}
