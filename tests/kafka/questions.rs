//! What compliance staff ask and request with the program itself: erasures, explanations, forecasts.

use lethe_test_support::event::{self, Message};
use lethe_test_support::http::request;
use lethe_test_support::lethe::verb;
use lethe_test_support::search;
use serde_json::Value;

use crate::world::{DAY, PROGRAM, Shared, World, content, now, text, tombstone};
use crate::{Version, on_both_brokers};

static WORLDS: Shared = Shared::new("questions");

const STORE: &str = "store.messages";
const PROFILES: &str = "store.profiles";

on_both_brokers! {
    erase_a_user_and_are_told_what_was_found;
    may_not_withdraw_what_is_still_needed;
    bound_an_erasure_that_stands;
    see_an_erasure_over_http;
    are_told_why_a_record_is_kept;
    are_told_what_a_change_would_end;
    are_not_told_what_nobody_could_count;
}

/// Asks the program for something on the world's control topic, of all of its processes.
fn ask(world: &World<'_>, args: &[&str]) -> (i32, String, String) {
    let config = world.setup.write_config().display().to_string();
    let mut all = args.to_vec();
    all.extend(["--config", &config, "--brokers", &world.setup.brokers]);
    verb(PROGRAM, &all)
}

/// The same, of the world's process, and it works: what it printed.
fn done(world: &World<'_>, args: &[&str]) -> String {
    let http = world.lethe().address();
    let (code, said, errors) = ask(world, &[args, &["--endpoints", &http]].concat());
    assert_eq!(code, 0, "lethe {}: {errors}", args.join(" "));
    said
}

/// What JSON says at a pointer.
fn at(text: &str, pointer: &str) -> Value {
    let json: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    json.pointer(pointer).cloned().unwrap_or_default()
}

/// What `bob` sent.
fn by_bob(message: &Message) -> Vec<u8> {
    message.sent_as(lethe_proto::v1::Sent { sender: "bob".to_owned(), ..event::sent_to(1) }, b"x")
}

fn erase_a_user_and_are_told_what_was_found(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("eraser", "30d");
    let hers = Message::new("eraser", "c1", "m1", now() - 1_000);
    let his = Message::new("eraser", "c1", "m2", now() - 1_000);
    let held = Message::new("eraser", "c2", "m3", now() - 1_000);
    world.say("hold/erased-case", &serde_json::json!({"tenant": "eraser", "conversation": "c2"}));
    let events = [(&hers, hers.sent(b"x")), (&his, by_bob(&his)), (&held, held.sent(b"x"))];
    for (message, event) in &events {
        world.tell(event);
        world.expect(STORE, &message.key(), &[content(event)]);
    }
    let profile = event::profile_updated("eraser", "alice", now() - 1_000, b"p");
    world.send("im.profiles", 1, &profile);
    world.expect(PROFILES, &event::record_key(&["eraser", "alice"]), &[content(&profile)]);

    let place = ["erase", "place", "req-1", "--tenant", "eraser", "--user", "alice", "--wait"];
    let said = done(world, &place);
    assert!(said.contains("done in every partition"), "{said}");
    assert!(said.contains("message: 1 ended, 1 kept by a hold, 0 kept by the minimum"), "{said}");
    assert!(said.contains("profile: 1 ended"), "{said}");
    world.expect(STORE, &hers.key(), &[content(&hers.sent(b"x")), tombstone("erased")]);
    world.expect_settled(STORE, &his.key(), &[content(&by_bob(&his))]);
    world.expect_settled(STORE, &held.key(), &[content(&held.sent(b"x"))]);
    // The same again is no change, and is done already.
    assert!(done(world, &place).contains("done in every partition"));

    let status = done(world, &["erase", "status", "req-1", "--json"]);
    assert_eq!(at(&status, "/done"), true);
    assert_eq!(at(&status, "/by_class/message/held"), 1);
    assert_eq!(at(&status, "/partitions").as_array().map(Vec::len), Some(6));
    let explained = done(world, &["explain", "eraser", "c2", "m3", "--json"]);
    assert_eq!(at(&explained, "/0/state"), "waits", "{explained}");
    assert_eq!(at(&explained, "/0/by/key"), "erasure/req-1");
    assert_eq!(at(&explained, "/0/kept_by/key"), "hold/erased-case");
}

fn may_not_withdraw_what_is_still_needed(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("needy", "30d");
    done(world, &["erase", "place", "needed", "--tenant", "needy", "--user", "alice"]);
    let (code, _, errors) = ask(world, &["erase", "withdraw", "needed"]);
    assert_eq!(code, 1);
    let day = text(now() + 30 * DAY).chars().take(10).collect::<String>();
    assert!(errors.contains("could still arrive late") && errors.contains(&day), "{errors}");
    let http = world.lethe().address();
    let withdraw = request("DELETE", &http, "/v1/erasures/needed", &[("If-Match", "*")], "");
    assert_eq!(withdraw.map(|answer| answer.status), Ok(409));
    // What nothing could store any more may go.
    let old = ["erase", "place", "old", "--tenant", "needy", "--user", "alice", "--before"];
    done(world, &[&old[..], &["2001-01-01T00:00:00Z"]].concat());
    done(world, &["erase", "withdraw", "old"]);
    assert_eq!(ask(world, &["erase", "withdraw", "never-placed"]).0, 1);
}

fn bound_an_erasure_that_stands(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("stander", "30d");
    let place =
        ["erase", "place", "stands", "--tenant", "stander", "--user", "alice", "--standing"];
    done(world, &[&place[..], &["--wait"]].concat());
    let later = Message::new("stander", "c1", "m1", now());
    world.tell(&later.sent(b"x"));
    world.expect("transit.messages", &later.key(), &[content(&later.sent(b"x"))]);
    assert_eq!(ask(world, &["erase", "withdraw", "stands"]).0, 1, "it is bounded first");
    done(world, &["erase", "bound", "stands", "--wait"]);
    let again = Message::new("stander", "c1", "m2", now());
    world.tell(&again.sent(b"x"));
    world.expect(STORE, &again.key(), &[content(&again.sent(b"x"))]);
    let (code, _, errors) = ask(world, &["erase", "bound", "stands"]);
    assert_eq!(code, 1, "it stands no more");
    assert!(errors.contains("no erasure stands that stands"), "{errors}");
}

fn see_an_erasure_over_http(version: Version) {
    let world = WORLDS.on(version);
    let http = world.lethe().address();
    let path = "/v1/erasures/web%2Fone";
    let call = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        request(method, &http, path, headers, body).unwrap_or_else(|why| panic!("{why}"))
    };
    let body = r#"{"tenant": "web-eraser", "before": "2001-01-01T00:00:00Z"}"#;
    let created = call("PUT", path, &[("If-None-Match", "*")], body);
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(call("PUT", path, &[("If-None-Match", "*")], body).status, 412);
    world.wait_until_in_force();
    let progress = call("GET", &format!("{path}/progress"), &[], "");
    assert_eq!(progress.status, 200);
    assert_eq!(at(&progress.body, "/partitions/0/offset"), at(&created.body, "/offset"));
    let wrong = [
        "/v1/explain",
        "/v1/explain?tenant=a",
        "/v1/explain?tenant=a&user=u&item=i",
        "/v1/explain?tenant=a&user=u&at=yesterday",
        "/v1/explain?tenant=a&user=u&color=red",
    ];
    for path in wrong {
        let answer = call("GET", path, &[], "");
        assert_eq!(answer.status, 422, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
    }
    for body in ["", "[]", r#"{"changes": {"nothing/a": {}}}"#, r#"{"changes": {"tenant/a": 7}}"#] {
        assert_eq!(call("POST", "/v1/forecast", &[], body).status, 422, "{body}");
    }
}

fn are_told_why_a_record_is_kept(version: Version) {
    let world = WORLDS.on(version);
    let policy = world.opt_in("asker", "30d");
    let sent_at_ms = now() - 1_000;
    let message = Message::new("asker", "a/b", "m 1", sent_at_ms);
    world.tell(&message.sent(b"a secret in content"));
    world.expect(STORE, &message.key(), &[content(&message.sent(b"a secret in content"))]);
    let profile = event::profile_updated("asker", "alice", sent_at_ms, b"p");
    world.send("im.profiles", 1, &profile);
    world.settle();

    let when = text(sent_at_ms);
    let asked = ["explain", "asker", "a/b", "m 1", "--json"];
    let searched = done(world, &asked);
    let timed = done(world, &[&asked[..], &["--at", &when]].concat());
    assert_eq!(searched, timed);
    assert_eq!(at(&timed, "/0/state"), "kept", "{timed}");
    assert_eq!(at(&timed, "/0/until_ms"), sent_at_ms + 30 * DAY);
    assert_eq!(at(&timed, "/0/by/key"), "tenant/asker");
    assert_eq!(at(&timed, "/0/by/offset"), policy);
    assert_eq!(at(&timed, "/0/partition"), 0);
    let said = done(world, &["explain", "asker", "--user", "alice"]);
    assert!(said.starts_with("stored until") && said.contains("tenant/asker"), "{said}");
    let none = done(world, &["explain", "asker", "a/b", "never"]);
    assert_eq!(none, "nothing is known of it\n");
    let old = ["explain", "asker", "a/b", "never", "--at", "2001-01-01T00:00:00Z"];
    assert!(done(world, &old).starts_with("over;"));
    world.tell(&message.recalled());
    world.settle();
    assert!(done(world, &asked[..4]).starts_with("over;"));
    assert!(!search::contains(searched.as_bytes(), b"secret"));
}

fn are_told_what_a_change_would_end(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("planner", "30d");
    for (number, days) in [(1, 0), (2, 2), (3, 4)] {
        let id = format!("m{number}");
        let message = Message::new("planner", "c1", &id, now() - days * DAY - 60_000);
        world.send("im.messages", number % 2, &message.sent(b"x"));
        world.expect(STORE, &message.key(), &[content(&message.sent(b"x"))]);
    }
    let set = ["policy", "set", "planner", "--message-retention", "3d", "--forecast"];
    let said = done(world, &set);
    assert!(said.contains("planner message: 1 end at once (as it is: 0)"), "{said}");
    let json = done(world, &[&set[..], &["--json"]].concat());
    let all = at(&json, "").as_array().cloned().unwrap_or_default();
    let of_messages = all.iter().find(|one| one.get("class") == Some(&Value::from("message")));
    let of_day = |day: usize| of_messages?.pointer(&format!("/proposed/by_day/{day}"))?.as_u64();
    assert_eq!((of_day(0), of_day(1), of_day(2)), (Some(1), Some(0), Some(1)), "{json}");
    let erase = ["erase", "place", "plan", "--tenant", "planner", "--forecast"];
    assert!(done(world, &erase).contains("3 end at once"));
    let stop = ["hold", "place", "plan", "--tenant", "*", "--forecast"];
    assert!(done(world, &stop).starts_with("* "));
    // Nothing was changed.
    for kind in [["erase", "list"], ["hold", "list"]] {
        let (_, said, _) = ask(world, &kind);
        assert!(!said.contains("/plan"), "{said}");
    }
}

fn are_not_told_what_nobody_could_count(version: Version) {
    let world = WORLDS.on(version);
    let set = ["policy", "set", "planner", "--profile", "out", "--forecast"];
    let (code, _, errors) = ask(world, &[&set[..], &["--endpoints", "127.0.0.1:1"]].concat());
    assert_eq!(code, 1);
    assert!(errors.contains("127.0.0.1:1"), "{errors}");
}
