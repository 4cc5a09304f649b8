//! Replays as operators ask for them: the program's verbs and HTTP, and what they refuse.

use lethe_test_support::event::Message;
use lethe_test_support::http::request;
use lethe_test_support::lethe::verb;
use serde_json::Value;

use crate::world::{PROGRAM, Shared, World, content, now};
use crate::{Version, on_both_brokers};

static WORLDS: Shared = Shared::new("replay-verbs");

on_both_brokers! {
    a_replay_is_started_shown_and_its_id_used_once;
    a_replay_is_paused_resumed_and_cancelled;
    what_cannot_be_is_refused_before_it_is_written;
    a_replay_is_asked_for_over_http;
}

fn ask(world: &World<'_>, args: &[&str]) -> (i32, String, String) {
    let config = world.setup.write_config().display().to_string();
    let http = world.lethe().address();
    let place = ["--config", &config, "--brokers", &world.setup.brokers];
    // The list is the control topic's: nobody is asked.
    let asked = ["--endpoints", &http];
    let asked = if args == ["list"] { &[][..] } else { &asked };
    verb(PROGRAM, &[&["replay"], args, &place, asked].concat())
}

fn done(world: &World<'_>, args: &[&str]) -> String {
    let (code, said, errors) = ask(world, args);
    assert_eq!(code, 0, "lethe replay {}: {said}{errors}", args.join(" "));
    said
}

/// Fails, and says why.
fn refused(world: &World<'_>, args: &[&str]) -> String {
    let (code, said, errors) = ask(world, args);
    assert_eq!(code, 1, "lethe replay {}: {said}{errors}", args.join(" "));
    errors
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn a_replay_is_started_shown_and_its_id_used_once(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("shown", "30d");
    let message = Message::new("shown", "c", "m", now());
    world.tell(&message.sent(b"x"));
    world.expect("store.messages", &message.key(), &[content(&message.sent(b"x"))]);
    world.settle();
    let source = world.topic("im.messages");
    let start = ["start", "shown/1", "--source", &source, "--tenant", "shown", "--wait"];
    let said = done(world, &start);
    assert!(said.contains("done: ") && said.contains("known: 1"), "{said}");
    let status = json(&done(world, &["status", "shown/1"]));
    assert_eq!((at(&status, "/done"), at(&status, "/counts/known")), (&true.into(), &1.into()));
    assert_eq!(at(&status, "/read"), at(&status, "/of"));
    let of_messages = at(&status, "/partitions").as_array().into_iter().flatten();
    assert_eq!(of_messages.filter(|one| !at(one, "/replay").is_null()).count(), 2);
    // What is written has its range as offsets.
    let listed = world.lethe().get("/v1/replays/shown%2F1").map(|(_, body)| json(&body));
    let value = listed.map(|entry| at(&entry, "/in_force/value").clone()).unwrap_or_default();
    assert_eq!(at(&value, "/from/0"), 0, "{value}");
    assert!(at(&value, "/to/0").as_i64() > Some(0), "{value}");
    assert!(refused(world, &start).contains("take another id"));
    assert!(refused(world, &["cancel", "shown/1"]).contains("has come to its end: done"));
    assert!(refused(world, &["status", "never"]).contains("nothing is said of it"));
}

fn a_replay_is_paused_resumed_and_cancelled(version: Version) {
    let world = WORLDS.on(version);
    let source = world.topic("im.profiles");
    for number in 0..20 {
        let id = format!("paused-{number}");
        let profile = lethe_test_support::event::profile_updated("p", &id, now(), b"p");
        world.send("im.profiles", 0, &profile);
    }
    world.settle();
    done(world, &["start", "slow", "--source", &source, "--rate", "1"]);
    done(world, &["pause", "slow", "--wait"]);
    assert!(done(world, &["pause", "slow"]).contains("nothing changes"));
    assert!(done(world, &["list"]).contains("\"paused\":true"));
    done(world, &["resume", "slow", "--rate", "2", "--wait"]);
    let status = json(&done(world, &["status", "slow"]));
    assert_eq!(at(&status, "/done"), false, "{status}");
    done(world, &["cancel", "slow", "--wait"]);
    lethe_test_support::wait::eventually("the replay to be cancelled", || {
        let status = json(&done(world, &["status", "slow"]));
        if at(&status, "/status") == "cancelled" { Ok(()) } else { Err(status.to_string()) }
    });
    let again = ["start", "slow", "--source", &source];
    assert!(refused(world, &again).contains("its id is used up"));
    assert!(!done(world, &["list"]).contains("replay/slow"));
}

fn what_cannot_be_is_refused_before_it_is_written(version: Version) {
    let world = World::new(version, "replay-refused");
    world.create("narrow", 1, &[]);
    world.create("gone", 2, &[]);
    for _ in 0..10 {
        world.send("gone", 0, &Message::new("t", "c", "m", now()).sent(b"x"));
    }
    world.remove_before("gone", 0, 7);
    let topic = |name: &str| world.topic(name);
    let (narrow, gone, store) = (topic("narrow"), topic("gone"), topic("store.messages"));
    let messages = topic("im.messages");
    let why = |args: &[&str]| refused(&world, &[&["start", "no"], args].concat());
    assert!(why(&["--source", "nowhere", "--class", "message"]).contains("is not there"));
    assert!(
        why(&["--source", &narrow, "--class", "message"]).contains("must stay on one partition")
    );
    assert!(why(&["--source", &narrow]).contains("which class"));
    assert!(
        why(&["--source", &messages, "--to", "2999-01-01T00:00:00Z"]).contains("in the future")
    );
    assert!(why(&["--source", &messages, "--from", "7=0"]).contains("names partition 7"));
    assert!(why(&["--source", &store]).contains("a dry run alone may read it"));
    let left = why(&["--source", &gone, "--class", "message", "--from", "0"]);
    assert!(left.contains("retention has removed") && left.contains("0: 7 to 10"), "{left}");
    done(&world, &["start", "dry", "--source", &store, "--dry-run", "--mode", "refresh", "--wait"]);
    let (code, _, errors) = ask(&world, &["start", "no", "--source", &messages, "--from", "0=x"]);
    assert_eq!(code, 2, "{errors}");
    assert!(!done(&world, &["list"]).contains("replay/no"));
}

fn a_replay_is_asked_for_over_http(version: Version) {
    let world = WORLDS.on(version);
    let http = world.lethe().address();
    let path = "/v1/replays/web";
    let call = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        request(method, &http, path, headers, body).unwrap_or_else(|why| panic!("{why}"))
    };
    let fresh = [("If-None-Match", "*")];
    let body = format!(r#"{{"source": "{}", "mode": "missing"}}"#, world.topic("im.configs"));
    assert_eq!(call("PUT", path, &[], &body).status, 428);
    let nowhere = r#"{"source": "nowhere", "class": "config", "mode": "missing"}"#;
    assert_eq!(call("PUT", path, &fresh, nowhere).status, 422);
    assert_eq!(call("PUT", path, &fresh, "{}").status, 422);
    assert_eq!(call("PUT", path, &fresh, &body).status, 201);
    lethe_test_support::wait::eventually("the replay to end", || {
        let answer = call("GET", &format!("{path}/progress"), &[], "");
        let progress = json(&answer.body);
        let replays = at(&progress, "/partitions").as_array().cloned().unwrap_or_default();
        let ends = replays.iter().filter(|one| at(one, "/replay/status") == "done").count();
        if ends == 2 { Ok(()) } else { Err(answer.body) }
    });
    assert_eq!(call("PUT", path, &[("If-Match", "*")], &body).status, 409);
    assert_eq!(call("DELETE", path, &[("If-Match", "*")], "").status, 409);
    assert_eq!(call("GET", "/v1/replays", &[], "").status, 200);
}

/// What JSON says at a pointer.
fn at<'v>(json: &'v Value, pointer: &str) -> &'v Value {
    json.pointer(pointer).unwrap_or(&Value::Null)
}
