//! The program's manners: its flags, its exit codes, its data directory, a broker that is away.

use lethe_test_support::broker::Broker;
use lethe_test_support::bus::Bus;
use lethe_test_support::event::Message;
use lethe_test_support::lethe::{Setup, verb};
use lethe_test_support::wait::eventually;

use crate::world::{PROGRAM, World, content, now};
use crate::{Version, on_both_brokers};

on_both_brokers! {
    waits_for_a_broker_that_is_away_at_the_start;
    goes_on_when_a_broker_comes_back;
    refuses_a_data_directory_that_another_process_holds;
}

#[test]
fn wrong_flags_are_the_users_mistake() {
    let wrong: [&[&str]; 6] = [
        &["fly"],
        &["run", "--nonsense"],
        &["run", "--workers", "none"],
        &["run", "--workers", "0"],
        &["run", "--memory", "plenty"],
        &["topics"],
    ];
    for args in wrong {
        let (code, _, errors) = verb(PROGRAM, args);
        assert_eq!(code, 2, "lethe {}: {errors}", args.join(" "));
        assert!(!errors.is_empty(), "lethe {}", args.join(" "));
    }
}

#[test]
fn help_has_an_example() {
    for args in [vec!["--help"], vec!["run", "--help"], vec!["topics", "plan", "--help"]] {
        let (code, help, _) = verb(PROGRAM, &args);
        assert_eq!(code, 0, "lethe {}", args.join(" "));
        assert!(help.contains("Example"), "lethe {}:\n{help}", args.join(" "));
    }
    assert_eq!(verb(PROGRAM, &["--version"]).0, 0);
}

#[test]
fn a_wrong_setting_is_named() {
    let settings = [
        ("colour = \"red\"", "colour"),
        ("commit_interval = \"soon\"", "commit_interval"),
        ("[kafka]\n\"enable.idempotence\" = \"false\"", "enable.idempotence"),
        ("[kafka]\n\"sasl.pasword\" = \"planted-secret\"", "sasl.pasword"),
        ("[kafka]\n\"sasl.password\" = [\"planted-secret\"]", "sasl.password"),
    ];
    for (setting, name) in settings {
        let dir = lethe_test_support::process::directory("settings");
        let config = dir.join("lethe.toml");
        std::fs::write(&config, setting).unwrap_or_else(|error| panic!("{error}"));
        let data = dir.join("data").display().to_string();
        let args = ["run", "--data-dir", &data, "--config", &config.display().to_string()];
        let (code, _, errors) = verb(PROGRAM, &args);
        assert!(code == 1 || code == 2, "{setting}: {code}");
        assert!(errors.contains(name), "{setting}: {errors}");
        assert!(!errors.contains("planted-secret"), "{errors}");
    }
}

fn waits_for_a_broker_that_is_away_at_the_start(version: Version) {
    let broker = Broker::own(version);
    let bus = Bus::new(&broker, "program.start", 1);
    broker.stop();
    let mut lethe = Setup::new(PROGRAM, &bus, "first").start();
    eventually("it to say that the broker is away", || {
        assert!(lethe.is_running(), "{}", lethe.said());
        let (status, body) = lethe.get("/readyz")?;
        assert_eq!(status, 503, "{body}");
        let said = lethe.said();
        if said.contains(&broker.address()) { Ok(()) } else { Err(said) }
    });
    broker.start();
    lethe.wait_until_ready();
}

fn goes_on_when_a_broker_comes_back(version: Version) {
    let broker = Broker::own(version);
    let world = World::over(&broker, "program.later", |_, _| {});
    let before = Message::new("t", "c", "before", now());
    world.tell(&before.sent(b"before"));
    world.expect("transit.messages", &before.key(), &[content(&before.sent(b"before"))]);
    broker.stop();
    broker.start();
    let after = Message::new("t", "c", "after", now());
    world.tell(&after.sent(b"after"));
    world.expect("transit.messages", &after.key(), &[content(&after.sent(b"after"))]);
    world.expect_settled("transit.messages", &before.key(), &[content(&before.sent(b"before"))]);
    assert!(world.lethe().is_running());
}

fn refuses_a_data_directory_that_another_process_holds(version: Version) {
    let world = World::new(version, "program.locked");
    let mut second = Setup::new(PROGRAM, &world.bus, "second");
    second.data.clone_from(&world.setup.data);
    let mut second = second.start();
    assert_eq!(second.wait().code(), Some(1), "{}", second.said());
    let data = world.setup.data.display().to_string();
    assert!(second.said().contains(&data), "{}", second.said());
    assert!(world.lethe().is_running());
}
