//! A right that lethe's user lacks is named, with what it is missing on; nothing is lost by it.
//!
//! On Kafka 4.1.1 with its authorizer: what a broker allows is no matter of its version.

use std::sync::OnceLock;

use lethe_test_support::broker::Broker;
use lethe_test_support::bus::{AUDIT, Bus, CONTROL, DEAD_LETTERS};
use lethe_test_support::event::Message;
use lethe_test_support::lethe::{Lethe, Setup, verb};
use lethe_test_support::rights::{PASSWORD, Resource, login};

use crate::world::{PROGRAM, World, content, now, tombstone};

const TRANSIT: &str = "transit.messages";

fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(Broker::guarded)
}

/// lethe, logged in on a bus of the case's own.
fn world(name: &str) -> World<'static> {
    World::over(broker(), name, |_, setup| log_in(setup))
}

fn log_in(setup: &mut Setup) {
    setup.brokers = broker().guarded_address();
    setup.kafka = login(PASSWORD);
    setup.environment.insert("LETHE_LOG".to_owned(), "lethe=trace,info".to_owned());
}

fn changelog(bus: &Bus<'_>) -> String {
    bus.topic(&format!("lethe.changelog.{}", bus.topic("im.messages")))
}

/// Waits for lethe's end, and gives what it said.
fn refused(lethe: &mut Lethe) -> String {
    assert_eq!(lethe.wait().code(), Some(1), "{}", lethe.said());
    assert!(lethe.places_with(PASSWORD.as_bytes()).is_empty(), "the password is in its log");
    lethe.said()
}

/// Without each of these lethe does not start; it names all that are missing.
#[test]
fn that_are_missing_at_the_start_are_named_together() {
    let world = world("rights.start");
    let message = Message::new("passing", "c", "m", now());
    world.tell(&message.sent(b"here"));
    world.expect(TRANSIT, &message.key(), &[content(&message.sent(b"here"))]);
    assert!(world.lethe().terminate().success());
    let topic = |name: &str| Resource::Topic(world.topic(name));
    let rights = [
        ("Read", topic("im.messages")),
        ("Read", topic(CONTROL)),
        ("Write", topic("store.messages")),
        ("Write", topic(TRANSIT)),
        ("Write", topic(DEAD_LETTERS)),
        ("Write", topic(AUDIT)),
        ("Write", Resource::Topic(changelog(&world))),
        ("Read", Resource::Topic(changelog(&world))),
        ("Describe", topic("im.configs")),
    ];
    broker().deny(&rights[..8]);
    *world.lethe() = world.setup.start();
    let said = refused(&mut world.lethe());
    for named in [
        format!("Read on topic {}", world.topic("im.messages")),
        format!("Read on topic {}", world.topic(CONTROL)),
        format!("Write on topic {}", world.topic("store.messages")),
        format!("Write on topic {}", world.topic(TRANSIT)),
        format!("Write on topic {}", world.topic(DEAD_LETTERS)),
        format!("Write on topic {}", world.topic(AUDIT)),
        format!("Read and Write on topic {}", changelog(&world)),
    ] {
        assert!(said.contains(&named), "{named} in\n{said}");
    }
    assert!(!said.contains("aborted"), "nothing was tried: {said}");
    broker().grant(&rights[..8]);
    // A topic that is hidden altogether.
    broker().deny(&rights[8..]);
    *world.lethe() = world.setup.start();
    let said = refused(&mut world.lethe());
    assert!(said.contains(&world.topic("im.configs")) && said.contains("Read on it"), "{said}");
    broker().grant(&rights[8..]);
    world.tell(&message.delivered("bob"));
    world.start_again();
    let settled = [content(&message.sent(b"here")), tombstone("delivered")];
    world.expect_settled(TRANSIT, &message.key(), &settled);
}

/// The group and the transactional ids are not asked about beforehand: the first call says it.
#[test]
fn on_the_group_and_the_transactional_ids_are_named() {
    let world = world("rights.ids");
    assert!(world.lethe().terminate().success());
    let group = world.setup.group.clone();
    let cases = [
        ("Read", Resource::Group(group.clone()), format!("group {group}")),
        ("Describe", Resource::Group(group.clone()), format!("group {group}")),
        ("Write", Resource::TransactionalIds(group.clone()), format!("{group}-first-0")),
        ("Describe", Resource::TransactionalIds(group.clone()), format!("{group}-first-0")),
    ];
    for (operation, resource, named) in cases {
        broker().deny(&[(operation, resource.clone())]);
        *world.lethe() = world.setup.start();
        let said = refused(&mut world.lethe());
        let about = |line: &str| line.contains(&named) && line.contains("grant lethe's user");
        assert!(said.lines().any(about), "{named} in\n{said}");
        broker().grant(&[(operation, resource)]);
    }
    world.start_again();
    let message = Message::new("passing", "c", "m", now());
    world.tell(&message.sent(b"here"));
    world.expect(TRANSIT, &message.key(), &[content(&message.sent(b"here"))]);
}

/// A right that is taken away while lethe works stops it: once, with the name, and without a trace of the batch.
#[test]
fn that_are_taken_away_are_named_and_nothing_is_lost() {
    let world = world("rights.taken");
    let group = world.setup.group.clone();
    let cases = [
        ("Write", Resource::Topic(world.topic(TRANSIT))),
        ("Write", Resource::Topic(changelog(&world))),
        ("Read", Resource::Topic(world.topic("im.messages"))),
        ("Read", Resource::Topic(world.topic(CONTROL))),
        ("Read", Resource::Group(group.clone())),
        ("Write", Resource::TransactionalIds(group)),
    ];
    for (number, (operation, resource)) in cases.into_iter().enumerate() {
        broker().deny(&[(operation, resource.clone())]);
        let message = Message::new("passing", "c", &number.to_string(), now());
        world.tell(&message.sent(b"meanwhile"));
        world.tell(&message.delivered("bob"));
        let said = refused(&mut world.lethe());
        let (Resource::Topic(name) | Resource::Group(name) | Resource::TransactionalIds(name)) =
            &resource
        else {
            continue;
        };
        let about = |line: &str| line.contains(name.as_str()) && line.contains(operation);
        assert!(said.lines().any(about), "{operation} on {resource:?} in\n{said}");
        broker().grant(&[(operation, resource)]);
        world.start_again();
        let settled = [content(&message.sent(b"meanwhile")), tombstone("delivered")];
        world.expect(TRANSIT, &message.key(), &settled);
        world.expect_settled(TRANSIT, &message.key(), &settled);
    }
}

/// Settings and the removal of records are for the better: without these rights lethe works, and says so.
#[test]
fn that_lethe_can_do_without_are_warned_of() {
    let world = world("rights.optional");
    assert!(world.lethe().terminate().success());
    let rights = [
        ("DescribeConfigs", Resource::Topic(world.topic(CONTROL))),
        ("DescribeConfigs", Resource::Topic(world.topic("im.messages"))),
        ("DescribeConfigs", Resource::Topic(world.topic("store.messages"))),
        ("DescribeConfigs", Resource::Cluster),
        ("Delete", Resource::Topic(changelog(&world))),
    ];
    broker().deny(&rights);
    world.start_again();
    let message = Message::new("passing", "c", "m", now());
    world.tell(&message.sent(b"here"));
    world.tell(&message.delivered("bob"));
    let settled = [content(&message.sent(b"here")), tombstone("delivered")];
    world.expect(TRANSIT, &message.key(), &settled);
    let said = world.lethe().said();
    let warned = |parts: &[&str]| {
        said.lines()
            .any(|line| line.contains("WARN") && parts.iter().all(|part| line.contains(part)))
    };
    let topics = ["DescribeConfigs", &world.topic(CONTROL), &world.topic("im.messages")];
    assert!(warned(&topics), "{said}");
    assert!(warned(&["DescribeConfigs on the cluster"]), "{said}");
    assert!(warned(&["grant Delete", &changelog(&world)]), "{said}");
    broker().grant(&rights);
}

#[test]
fn to_change_topics_are_named_by_the_verb_that_needs_them() {
    let bus = Bus::new(broker(), "rights.verbs", 1);
    let mut setup = Setup::new(PROGRAM, &bus, "first");
    log_in(&mut setup);
    let config = setup.write_config().display().to_string();
    let run = |what: &str| {
        let args = ["topics", what, "--brokers", &setup.brokers, "--config", &config];
        verb(PROGRAM, &args)
    };
    let create =
        [("Create", Resource::Cluster), ("Create", Resource::Topic(bus.topic("store.messages")))];
    broker().deny(&create);
    let (code, said, errors) = run("plan");
    assert_eq!(code, 0, "{said}{errors}");
    let (code, _, errors) = run("apply");
    assert_eq!(code, 1, "{errors}");
    let store = bus.topic("store.messages");
    assert!(errors.contains(&store) && errors.contains("grant Create"), "{errors}");
    let mut lethe = setup.start();
    let said = refused(&mut lethe);
    assert!(said.contains(&store) && said.contains("grant Create"), "{said}");
    broker().grant(&create);
    assert_eq!(run("apply").0, 0);

    bus.set("store.messages", &[("cleanup.policy", "delete")]);
    let alter = [("AlterConfigs", Resource::Topic(store.clone()))];
    broker().deny(&alter);
    let (code, _, errors) = run("apply");
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains(&store) && errors.contains("grant AlterConfigs"), "{errors}");
    broker().grant(&alter);

    // What may not be looked at is not altered, and said.
    let look = [("DescribeConfigs", Resource::Topic(store.clone()))];
    broker().deny(&look);
    let (code, said, errors) = run("apply");
    assert_eq!(code, 0, "{said}{errors}");
    assert!(said.contains(&store) && said.contains("grant DescribeConfigs"), "{said}");
    broker().grant(&look);
}

#[test]
fn a_wrong_password_is_said_and_shown_nowhere() {
    const WRONG: &str = "wrong-password-4d90";
    let bus = Bus::new(broker(), "rights.login", 1);
    let mut setup = Setup::new(PROGRAM, &bus, "first");
    log_in(&mut setup);
    setup.kafka = login(WRONG);
    setup.kafka.insert("debug".to_owned(), "security,broker".to_owned());
    setup.environment.insert("LETHE_LOG".to_owned(), "trace".to_owned());
    let mut lethe = setup.start();
    let said = refused(&mut lethe);
    assert!(said.contains("log-in") && said.contains("sasl.*"), "{said}");
    assert!(said.contains(&setup.brokers), "{said}");
    assert_eq!(lethe.places_with(WRONG.as_bytes()), Vec::<String>::new());
    // A password whose property is misspelt is not shown either.
    setup.kafka = login(PASSWORD);
    setup.kafka.insert("sasl.pasword".to_owned(), WRONG.to_owned());
    let mut lethe = setup.start();
    let said = refused(&mut lethe);
    assert!(said.contains("sasl.pasword"), "{said}");
    assert_eq!(lethe.places_with(WRONG.as_bytes()), Vec::<String>::new());
}
