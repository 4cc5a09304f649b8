//! A bus that has run for years is brought under lethe, by the commands of docs/adopting.md.

use lethe_test_support::event::{self, Message};
use lethe_test_support::lethe::verb;
use serde_json::Value;

use crate::world::{DAY, PROGRAM, World, content, now, tombstone};
use crate::{Version, on_both_brokers};

const STORE: &str = "store.messages";
const TRANSIT: &str = "transit.messages";

on_both_brokers! {
    a_bus_is_taken_over_live_at_once_and_its_history_beside_it;
    a_bus_is_taken_over_in_its_order;
}

/// What was on the bus before.
struct Past {
    kept: Message,
    old: Message,
    recalled: Message,
    foreign: Message,
    profile: Vec<u8>,
}

impl Past {
    fn of(days: i64) -> Self {
        let message = |tenant, id, days| Message::new(tenant, "c", id, now() - days * DAY);
        Self {
            kept: message("acme", "kept", days),
            old: message("acme", "old", 900),
            recalled: message("acme", "recalled", days),
            foreign: message("nobody", "foreign", days),
            profile: event::profile_updated("acme", "ada", now() - days * DAY, b"p"),
        }
    }

    /// Produces it, before lethe has ever run.
    fn put(&self, world: &lethe_test_support::bus::Bus<'_>) {
        let put = |topic, partition, value: &[u8]| {
            let record = lethe_test_support::bus::Put {
                partition,
                key: "k",
                value: Some(value),
                headers: &[],
            };
            world.put(topic, record);
        };
        for (message, partition) in
            [(&self.kept, 0), (&self.old, 1), (&self.recalled, 1), (&self.foreign, 0)]
        {
            put("im.messages", partition, &message.sent(b"history"));
        }
        put("im.messages", 1, &self.recalled.recalled());
        put("im.profiles", 0, &self.profile);
    }

    fn expect(&self, world: &World<'_>) {
        world.expect(STORE, &self.kept.key(), &[content(&self.kept.sent(b"history"))]);
        let ada = event::record_key(&["acme", "ada"]);
        world.expect("store.profiles", &ada, &[content(&self.profile)]);
        world.expect_settled(STORE, &self.old.key(), &[]);
        world.expect_settled(TRANSIT, &self.foreign.key(), &[]);
    }
}

/// Runs a verb on the world's cluster; it works. Gives what it printed.
fn does(brokers: &str, config: &str, args: &[&str]) -> String {
    let (code, said, errors) =
        verb(PROGRAM, &[args, &["--config", config, "--brokers", brokers]].concat());
    assert_eq!(code, 0, "lethe {}: {said}{errors}", args.join(" "));
    said
}

/// The tenant's policy, and a hold, before anything is read.
fn policies(brokers: &str, config: &str) {
    does(brokers, config, &["topics", "apply"]);
    let ever = "2019-01-01T00:00:00Z";
    let messages = ["--message", "in", "--message-retention", "365d", "--message-since", ever];
    let profiles = ["--profile", "in", "--profile-retention", "3650d", "--profile-since", ever];
    does(brokers, config, &[&["policy", "set", "acme"], &messages[..], &profiles].concat());
    does(brokers, config, &["terms", "set", "acme", "--minimum", "5d"]);
}

fn world(version: Version, name: &str, start: &str, past: &Past) -> World<'static> {
    World::with(version, name, |bus, setup| {
        past.put(bus);
        policies(&setup.brokers, &setup.write_config().display().to_string());
        setup.flags.extend(["--start".to_owned(), start.to_owned()]);
    })
}

fn a_bus_is_taken_over_live_at_once_and_its_history_beside_it(version: Version) {
    let past = Past::of(100);
    let world = world(version, "adoption.live", "latest", &past);
    let live = Message::new("acme", "c", "live", now());
    world.tell(&live.sent(b"live"));
    world.expect(STORE, &live.key(), &[content(&live.sent(b"live"))]);
    world.expect_settled(STORE, &past.kept.key(), &[]);

    let (brokers, http) = (world.setup.brokers.clone(), world.lethe().address());
    let config = world.setup.write_config().display().to_string();
    let source = world.topic("im.messages");
    let replay = |args: &[&str]| {
        does(&brokers, &config, &[&["replay"], args, &["--endpoints", &http]].concat())
    };
    let tried = replay(&["start", "try-1", "--source", &source, "--dry-run", "--wait"]);
    assert!(tried.contains("unknown_tenant: 1") && tried.contains("over: "), "{tried}");
    world.expect_settled(STORE, &past.kept.key(), &[]);
    replay(&["start", "history", "--source", &source, "--rate", "20000", "--wait"]);
    let profiles = world.topic("im.profiles");
    replay(&["start", "profiles", "--source", &profiles, "--wait"]);
    past.expect(&world);
    let life = [content(&past.recalled.sent(b"history")), tombstone("recalled")];
    world.expect(STORE, &past.recalled.key(), &life);
    // All of it once more emits nothing.
    let again = replay(&["start", "again", "--source", &source, "--wait"]);
    assert!(!again.contains("emitted"), "{again}");
    let status: Value = serde_json::from_str(&replay(&["status", "history"])).unwrap_or_default();
    assert_eq!(status.get("status"), Some(&Value::from("done")), "{status}");
    past.expect(&world);
    // A restart goes on where it was, whatever it is told of a beginning.
    world.lethe().kill();
    let between = Message::new("acme", "c", "between", now());
    world.tell(&between.sent(b"x"));
    world.start_again();
    world.expect(STORE, &between.key(), &[content(&between.sent(b"x"))]);
}

fn a_bus_is_taken_over_in_its_order(version: Version) {
    let past = Past::of(100);
    let world = world(version, "adoption.order", "earliest", &past);
    let live = Message::new("acme", "c", "live", now());
    world.tell(&live.sent(b"live"));
    world.expect(STORE, &live.key(), &[content(&live.sent(b"live"))]);
    past.expect(&world);
    let life = [content(&past.recalled.sent(b"history")), tombstone("recalled")];
    world.expect(STORE, &past.recalled.key(), &life);
}
