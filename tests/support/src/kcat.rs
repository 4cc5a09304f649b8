//! kcat, the independent client: what it writes and reads owes nothing to lethe's own dependencies.

use std::fs;
use std::process::{Command, Output};

use crate::broker::Broker;
use crate::process;

/// Produces one record and waits for its acknowledgement.
///
/// # Panics
/// Where kcat is missing or fails.
pub fn produce(
    broker: &Broker,
    topic: &str,
    partition: i32,
    key: &str,
    value: &[u8],
    headers: &[(&str, &str)],
) {
    let dir = process::directory("kcat");
    let file = dir.join("value");
    fs::write(&file, value).expect("a file for kcat");
    let mut kcat = Command::new("kcat");
    kcat.args([
        "-P",
        "-b",
        &broker.address(),
        "-t",
        topic,
        "-p",
        &partition.to_string(),
        "-k",
        key,
    ]);
    for (name, value) in headers {
        kcat.arg("-H").arg(format!("{name}={value}"));
    }
    run(kcat.arg(&file));
    let _ = fs::remove_dir_all(dir);
}

/// Reads a topic's committed records to its end: key and value, each tombstone's value empty.
///
/// # Panics
/// Where kcat is missing or fails.
#[must_use]
pub fn consume(broker: &Broker, topic: &str) -> Vec<(String, Vec<u8>)> {
    let mut kcat = Command::new("kcat");
    kcat.args(["-C", "-q", "-e", "-b", &broker.address(), "-t", topic, "-o", "beginning"]);
    // Each part behind its length (4 bytes, big endian), so that values may hold anything.
    kcat.args(["-X", "isolation.level=read_committed", "-f", "%K:%k%R%s"]);
    parse(&run(&mut kcat).stdout)
}

/// `LENGTH:KEY`, then four bytes of length (-1: null) and the value.
fn parse(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some(colon) = bytes.iter().position(|byte| *byte == b':') {
        let (length, rest) = bytes.split_at(colon);
        let length: i64 = String::from_utf8_lossy(length).parse().expect("a key's length");
        let (key, rest) = rest.split_at(1).1.split_at(usize::try_from(length).unwrap_or(0));
        let (length, rest) = rest.split_first_chunk::<4>().expect("a value's length");
        let (value, rest) =
            rest.split_at(usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0));
        records.push((String::from_utf8_lossy(key).into_owned(), value.to_vec()));
        bytes = rest;
    }
    records
}

fn run(kcat: &mut Command) -> Output {
    let output = kcat
        .output()
        .unwrap_or_else(|error| panic!("kcat cannot be started ({error}): apt-get install kcat"));
    assert!(output.status.success(), "kcat: {}", String::from_utf8_lossy(&output.stderr));
    output
}
