//! TLS and SASL: what passes through lethe, passes through them.
//!
//! On Kafka 4.1.1, with certificates of the test's own.

use std::collections::BTreeMap;

use lethe_test_support::bus::Bus;
use lethe_test_support::certificates::STORE_PASSWORD;
use lethe_test_support::event::Message;
use lethe_test_support::lethe::Setup;
use lethe_test_support::rights::PASSWORD;
use lethe_test_support::wait::eventually;

use crate::rights::broker;
use crate::world::{PROGRAM, World, content, now, tombstone};

const TRANSIT: &str = "transit.messages";

/// One message comes and is delivered through these properties; no secret of theirs is said.
fn passes(name: &str, (address, properties): (String, BTreeMap<String, String>)) {
    let world = World::over(broker(), name, |_, setup| {
        setup.brokers = address;
        setup.kafka = properties;
        setup.environment.insert("LETHE_LOG".to_owned(), "lethe=trace,info".to_owned());
    });
    let message = Message::new("passing", "c", "m", now());
    world.tell(&message.sent(b"here"));
    world.tell(&message.delivered("bob"));
    let settled = [content(&message.sent(b"here")), tombstone("delivered")];
    world.expect_settled(TRANSIT, &message.key(), &settled);
    for secret in [PASSWORD, STORE_PASSWORD] {
        assert!(world.lethe().places_with(secret.as_bytes()).is_empty(), "a secret is said");
    }
}

#[test]
fn scram_through_tls() {
    passes("security.scram", broker().secure("SCRAM-SHA-512", PASSWORD));
}

#[test]
fn plain_through_tls() {
    passes("security.plain", broker().secure("PLAIN", PASSWORD));
}

#[test]
fn mutual_tls() {
    passes("security.mutual", broker().mutual());
}

/// A broker whose certificate nobody vouches for is not spoken to.
#[test]
fn an_unknown_authority_is_refused() {
    let (address, mut properties) = broker().secure("SCRAM-SHA-512", PASSWORD);
    properties.remove("ssl.ca.location");
    let bus = Bus::new(broker(), "security.unknown", 1);
    let mut setup = Setup::new(PROGRAM, &bus, "first");
    (setup.brokers, setup.kafka) = (address, properties);
    let lethe = setup.start();
    eventually("the reason is said", || {
        let said = lethe.said();
        if said.contains("no broker answers") && said.contains("(TLS, SASL)") {
            Ok(())
        } else {
            Err(said)
        }
    });
    assert_eq!(lethe.get("/readyz").map(|(status, _)| status), Ok(503));
}
