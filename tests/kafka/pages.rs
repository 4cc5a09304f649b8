//! What a load balancer, Prometheus and a person see.

use lethe_test_support::event::{Message, config_set, profile_updated};
use serde_json::json;

use crate::world::{World, now, stored};
use crate::{Version, on_both_brokers};

on_both_brokers! {
    are_served;
    count_every_input_record_once;
}

fn are_served(version: Version) {
    let world = World::new(version, "pages.served");
    let lethe = world.lethe();
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/nowhere", 404)]
    {
        let (found, body) = lethe.get(path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found, status, "{path}: {body}");
    }
    let (_, metrics) = lethe.get("/metrics").unwrap_or_default();
    for line in [
        "# HELP lethe_records_total ",
        "# TYPE lethe_tombstones_total counter",
        "# TYPE lethe_expiry_lag_seconds gauge",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

fn count_every_input_record_once(version: Version) {
    // Said before the start: no canaries among what is counted.
    let world = World::with(version, "pages.counts", |bus, _| {
        bus.control("tenant/in", &stored("30d"));
        bus.control("tenant/out", &json!({}));
    });
    let at = now();
    let kept = Message::new("in", "c", "kept", at);
    let passing = Message::new("out", "c", "passing", at);
    let unknown = Message::new("in", "c", "unknown", at);
    let events: [(&str, Vec<u8>); 8] = [
        ("stored", kept.sent(b"x")),
        ("known", kept.sent(b"x")),
        ("transit", passing.sent(b"x")),
        ("learned", passing.delivered("bob")),
        ("over", passing.sent(b"x")),
        ("learned", unknown.recalled()),
        ("nothing", Message::new("in", "c", "never", at).edited(at, b"x")),
        ("dead_letter", b"\xff".to_vec()),
    ];
    for (_, event) in &events {
        world.tell(event);
    }
    world.send("im.profiles", 0, &profile_updated("in", "u", at, b"x"));
    world.send("im.configs", 0, &config_set("in", "i", at, b"x"));
    world.settle();
    for outcome in ["stored", "known", "transit", "learned", "over", "nothing", "dead_letter"] {
        let expected = events.iter().filter(|(expected, _)| *expected == outcome).count();
        // The profile and the item are stored too.
        let expected = if outcome == "stored" { expected + 2 } else { expected };
        assert_eq!(world.outcomes(outcome) as usize, expected, "{outcome}");
    }
    let all = world.lethe().metric("lethe_records_total", &[]);
    assert_eq!(all, Some((events.len() + 2) as f64), "each is counted once");
    let labels = [("class", "message"), ("reason", "delivered")];
    assert_eq!(world.lethe().metric("lethe_tombstones_total", &labels), Some(1.0));
    let lag = world.lethe().metric("lethe_expiry_lag_seconds", &[]);
    assert!(lag.is_some_and(|lag| (0.0..60.0).contains(&lag)), "{lag:?}");
}
