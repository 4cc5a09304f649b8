//! The HTTP server with a certificate: who asks it checks it.

use std::fs;

use lethe_test_support::broker::Broker;
use lethe_test_support::bus::Bus;
use lethe_test_support::lethe::{Setup, verb};
use lethe_test_support::process;
use lethe_test_support::wait::eventually;

use crate::world::PROGRAM;
use crate::{Version, on_both_brokers};

on_both_brokers! {
    the_verbs_ask_over_tls_and_trust_the_named_authority_alone;
}

fn the_verbs_ask_over_tls_and_trust_the_named_authority_alone(version: Version) {
    let dir = process::directory("https");
    let at = |name: &str| dir.join(name).display().to_string();
    let write = |name: &str, text: &str| {
        fs::write(dir.join(name), text).unwrap_or_else(|error| panic!("{error}"));
    };
    for name in ["own", "other"] {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])
            .unwrap_or_else(|error| panic!("{error}"));
        write(&format!("{name}.crt"), &made.cert.pem());
        write(&format!("{name}.key"), &made.signing_key.serialize_pem());
    }
    let bus = Bus::new(Broker::shared(version), "https", 2);
    let mut setup = Setup::new(PROGRAM, &bus, "first");
    let (certificate, key) = (at("own.crt"), at("own.key"));
    setup.settings = format!("http_certificate = {certificate:?}\nhttp_key = {key:?}");
    let lethe = setup.start();
    let config = setup.write_config().display().to_string();
    let address = lethe.address();
    eventually("the process to be ready, as it says to its own host", || {
        match verb(PROGRAM, &["health", "--ready", "--config", &config, "--http", &address]) {
            (0, _, _) => Ok(()),
            (_, _, errors) => Err(errors),
        }
    });
    assert!(lethe.get("/livez").is_err(), "it does not speak plain HTTP");

    let endpoint = format!("https://{address}");
    let place = |id: &str, authority: &str| {
        let hold = ["hold", "place", id, "--tenant", "a", "--wait", "--wait-seconds"];
        let patience = if authority == "own" { "30" } else { "0" };
        let ca = at(&format!("{authority}.crt"));
        let own = [patience, "--endpoints", &endpoint, "--ca", &ca, "--config", &config];
        verb(PROGRAM, &[&hold[..], &own, &["--brokers", &setup.brokers]].concat())
    };
    let (code, said, errors) = place("trusted", "own");
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("in force on every partition"), "{said}");
    let (code, _, errors) = place("untrusted", "other");
    assert_eq!(code, 1);
    assert!(errors.contains("certificate"), "{errors}");
}
