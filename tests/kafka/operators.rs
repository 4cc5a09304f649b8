//! What operators change with the program itself: policies, terms, holds.

use std::fs;

use lethe_test_support::event::Message;
use lethe_test_support::lethe::verb;
use lethe_test_support::process;
use serde_json::Value;

use crate::world::{PROGRAM, Shared, World, content, now, tombstone};
use crate::{Version, on_both_brokers};

static WORLDS: Shared = Shared::new("operators");

const STORE: &str = "store.messages";
const TRANSIT: &str = "transit.messages";

on_both_brokers! {
    opt_a_tenant_in_and_out;
    are_told_when_somebody_else_was_faster;
    do_not_overwrite_each_other;
    wait_in_vain_for_a_process_that_is_not_there;
    keep_policies_in_files;
    place_and_release_holds;
    are_refused_what_the_processor_would_refuse;
}

/// Asks the program for something on the world's control topic.
fn ask(world: &World<'_>, args: &[&str]) -> (i32, String, String) {
    let config = world.setup.write_config().display().to_string();
    let mut all = args.to_vec();
    all.extend(["--config", &config, "--brokers", &world.setup.brokers]);
    verb(PROGRAM, &all)
}

/// The same, and it is in force everywhere: what it printed.
fn in_force(world: &World<'_>, args: &[&str]) -> String {
    let http = world.lethe().address();
    done(world, &[args, &["--wait", "--endpoints", &http]].concat())
}

/// The same, and it works: what it printed.
fn done(world: &World<'_>, args: &[&str]) -> String {
    let (code, said, errors) = ask(world, args);
    assert_eq!(code, 0, "lethe {}: {errors}", args.join(" "));
    said
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn opt_a_tenant_in_and_out(version: Version) {
    let world = WORLDS.on(version);
    let set = ["policy", "set", "chooser", "--message", "in", "--message-retention", "30d"];
    in_force(world, &[&set[..], &["--message-since", "2000-01-01T00:00:00Z"]].concat());
    let message = Message::new("chooser", "c1", "m1", now());
    world.tell(&message.sent(b"stored"));
    world.expect(STORE, &message.key(), &[content(&message.sent(b"stored"))]);

    let out = json(&done(world, &["policy", "set", "chooser", "--message", "out", "--json"]));
    let life = [content(&message.sent(b"stored")), tombstone("opted-out")];
    world.expect(STORE, &message.key(), &life);
    let policy = world.records(STORE, &message.key()).remove(1).header("lethe-policy");
    assert_eq!(policy, Some(out[0]["offset"].to_string()));

    // In again: what was sent before the way back in stays out.
    let again = ["policy", "set", "chooser", "--message", "in", "--json"];
    let again = json(&in_force(world, &again));
    assert!(again[0]["after"]["message"]["since"].is_string(), "{again}");
    let old = Message::new("chooser", "c1", "m2", now() - 60_000);
    world.tell(&old.sent(b"passes"));
    world.expect(TRANSIT, &old.key(), &[content(&old.sent(b"passes"))]);
}

fn are_told_when_somebody_else_was_faster(version: Version) {
    let world = WORLDS.on(version);
    let first = json(&done(world, &["terms", "set", "contested", "--minimum", "1d", "--json"]));
    let seen = first[0]["offset"].to_string();
    done(world, &["terms", "set", "contested", "--minimum", "2d", "--if-offset", &seen]);
    let late = ["terms", "set", "contested", "--minimum", "3d", "--if-offset", &seen];
    let (code, _, errors) = ask(world, &late);
    assert_eq!(code, 1);
    assert!(errors.contains("terms/contested was changed meanwhile"), "{errors}");
    let there = json(&done(world, &["terms", "get", "contested", "--json"]));
    assert_eq!(there["in_force"]["value"]["minimum"], "2d");
}

fn do_not_overwrite_each_other(version: Version) {
    let world = WORLDS.on(version);
    done(world, &["hold", "place", "race", "--tenant", "nobody-0"]);
    let before = json(&done(world, &["hold", "list", "--json"]));
    let race = before.as_array().and_then(|all| all.iter().find(|hold| hold["key"] == "hold/race"));
    let seen = race.map(|hold| hold["offset"].to_string()).unwrap_or_default();
    let wins = std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=4)
            .map(|number| {
                let (tenant, seen) = (format!("nobody-{number}"), &seen);
                scope.spawn(move || {
                    let place = ["hold", "place", "race", "--replace", "--tenant", &tenant];
                    ask(world, &[&place[..], &["--if-offset", seen]].concat()).0
                })
            })
            .collect();
        writers
            .into_iter()
            .filter_map(|writer| writer.join().ok())
            .filter(|&code| code == 0)
            .count()
    });
    assert_eq!(wins, 1, "each replaces the same record");
}

fn wait_in_vain_for_a_process_that_is_not_there(version: Version) {
    let world = WORLDS.on(version);
    let set = ["terms", "set", "vain", "--minimum", "1d", "--wait", "--wait-seconds", "0"];
    let (code, _, errors) = ask(world, &[&set[..], &["--endpoints", "127.0.0.1:1"]].concat());
    assert_eq!(code, 1);
    assert!(errors.contains("127.0.0.1:1") && errors.contains("not in force"), "{errors}");
}

fn keep_policies_in_files(version: Version) {
    let world = WORLDS.on(version);
    let dir = process::directory("policies");
    let file = dir.join("filed.json");
    let write = |text: &str| fs::write(&file, text).unwrap_or_else(|error| panic!("{error}"));
    let path = dir.display().to_string();
    write(
        r#"{"tenant/filed": {"message": {"storage": "in", "since": "2000-01-01T00:00:00Z"}},
            "conversation/filed/c1": {"retention": "1d"}}"#,
    );
    let diff = json(&done(world, &["policy", "diff", "-f", &path, "--json"]));
    assert_eq!(diff.as_array().map(Vec::len), Some(2));
    in_force(world, &["policy", "apply", "-f", &path]);
    let message = Message::new("filed", "c1", "m1", now());
    world.tell(&message.sent(b"x"));
    world.expect(STORE, &message.key(), &[content(&message.sent(b"x"))]);
    assert_eq!(json(&done(world, &["policy", "apply", "-f", &path, "--json"])), json("[]"));

    // One record that is refused: none of them is written.
    write(r#"{"tenant/filed": {}, "conversation/filed/c1": {"retention": "soon"}}"#);
    let (code, _, errors) = ask(world, &["policy", "apply", "-f", &path]);
    assert_eq!(code, 2);
    assert!(errors.contains("conversation/filed/c1"), "{errors}");
    let there = json(&done(world, &["policy", "get", "filed", "--json"]));
    assert_eq!(there["in_force"]["value"]["message"]["storage"], "in");
}

fn place_and_release_holds(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("held", "30d");
    let message = Message::new("held", "c1", "m1", now());
    world.tell(&message.sent(b"kept"));
    world.expect(STORE, &message.key(), &[content(&message.sent(b"kept"))]);
    let place = ["hold", "place", "case-1", "--tenant", "held", "--reason", "court"];
    let placed = in_force(world, &place);
    assert!(placed.contains("in force on every partition"), "{placed}");
    // The same again is no change; something else under its name is refused.
    let same = ["hold", "place", "case-1", "--tenant", "held", "--reason", "court", "--json"];
    assert_eq!(json(&done(world, &same)), json("[]"));
    let (code, _, errors) = ask(world, &["hold", "place", "case-1", "--tenant", "other"]);
    assert_eq!(code, 1);
    assert!(errors.contains("case-1"), "{errors}");

    done(world, &["policy", "set", "held", "--message", "out"]);
    world.expect_settled(STORE, &message.key(), &[content(&message.sent(b"kept"))]);
    done(world, &["hold", "release", "case-1"]);
    let life = [content(&message.sent(b"kept")), tombstone("opted-out")];
    world.expect(STORE, &message.key(), &life);
    assert_eq!(ask(world, &["hold", "release", "never-placed"]).0, 1);
}

fn are_refused_what_the_processor_would_refuse(version: Version) {
    let world = WORLDS.on(version);
    let end = world.high_watermarks("lethe.control");
    let wrong: [&[&str]; 5] = [
        &["policy", "set", "picky", "--message", "maybe"],
        &["policy", "set", "picky", "--message-retention", "7d"],
        &["terms", "set", "picky", "--minimum", "5d", "--maximum", "3d"],
        &["policy", "set", "*", "--message", "in"],
        &["hold", "place", "h", "--tenant", "picky", "--from", "yesterday"],
    ];
    for args in wrong {
        let (code, _, errors) = ask(world, args);
        assert_eq!(code, 2, "lethe {}: {errors}", args.join(" "));
    }
    assert_eq!(world.high_watermarks("lethe.control"), end, "nothing was written");
}
