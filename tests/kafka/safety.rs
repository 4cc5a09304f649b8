//! The safety catch: what would end much is confirmed first, and waits then.

use lethe_test_support::event::Message;
use lethe_test_support::http::{Answer, request};
use lethe_test_support::lethe::verb;
use serde_json::{Value, json};

use crate::world::{DAY, PROGRAM, Shared, World, content, now, tombstone};
use crate::{Version, on_both_brokers};

static WORLDS: Shared = Shared::new("safety");

const STORE: &str = "store.messages";

on_both_brokers! {
    a_change_that_ends_much_is_refused_until_it_is_confirmed_and_waits_then;
    an_opt_out_and_an_erasure_need_not_wait;
    what_nobody_can_count_is_refused_until_it_is_confirmed;
    the_release_of_a_hold_is_counted_too;
    over_http_the_problem_says_what_would_end;
}

/// Asks the program, whose catch holds what ends more than two records, and more than half of them.
fn ask(world: &World<'_>, http: &str, args: &[&str]) -> (i32, String, String) {
    let mut setup = world.setup.clone();
    setup.settings = "safety = {records = 1000, share = 50, few = 2, grace = '1h'}".to_owned();
    let config = setup.write_config().display().to_string();
    let own = ["--config", &config, "--brokers", &world.setup.brokers, "--endpoints", http];
    verb(PROGRAM, &[args, &own].concat())
}

/// The tenant's four messages of these ages in days, all of them stored.
fn store(world: &World<'_>, tenant: &str, days: [i64; 4]) -> Vec<Message> {
    world.opt_in(tenant, "30d");
    let mut messages = Vec::new();
    for (number, days) in (0..).zip(days) {
        let message =
            Message::new(tenant, "c1", &format!("m{number}"), now() - days * DAY - 60_000);
        world.tell(&message.sent(b"x"));
        world.expect(STORE, &message.key(), &[content(&message.sent(b"x"))]);
        messages.push(message);
    }
    messages
}

fn all_live(world: &World<'_>, messages: &[Message]) {
    world.wait_until_in_force();
    for message in messages {
        world.expect_settled(STORE, &message.key(), &[content(&message.sent(b"x"))]);
    }
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn a_change_that_ends_much_is_refused_until_it_is_confirmed_and_waits_then(version: Version) {
    let world = WORLDS.on(version);
    let http = world.lethe().address();
    let messages = store(world, "cutter", [0, 2, 4, 6]);
    let set = |days: &'static str| ["policy", "set", "cutter", "--message-retention", days];
    let (code, _, errors) = ask(world, &http, &set("1d"));
    assert_eq!(code, 1);
    assert!(errors.contains("it would end 3 of the 4 message records of cutter"), "{errors}");
    // Two are few; and nothing at all is no matter.
    assert_eq!(ask(world, &http, &[&set("60d")[..], &["--dry-run"]].concat()).0, 0);
    all_live(world, &messages);

    let (code, said, errors) = ask(world, &http, &[&set("1d")[..], &["--confirm"]].concat());
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("waits until"), "{said}");
    all_live(world, &messages);
    let config = world.setup.write_config().display().to_string();
    let get = ["policy", "get", "cutter", "--config", &config, "--brokers", &world.setup.brokers];
    let (_, said, _) = verb(PROGRAM, &get);
    assert!(said.contains("in force: ") && said.contains("waiting until "), "{said}");
    lethe_test_support::wait::eventually("the metric to count what waits", || {
        match world.lethe().metric("lethe_changes_waiting", &[]) {
            Some(count) if count >= 1.0 => Ok(()),
            count => Err(format!("{count:?}")),
        }
    });
    // A newer record takes it back.
    let (code, _, errors) = ask(world, &http, &set("30d"));
    assert_eq!(code, 0, "{errors}");
    let (_, said, _) = verb(PROGRAM, &get);
    assert!(!said.contains("waiting until "), "{said}");
    let at_once = [&set("1d")[..], &["--confirm", "--at-once"]].concat();
    let (code, _, errors) = ask(world, &http, &at_once);
    assert_eq!(code, 1);
    assert!(errors.contains("may not happen at once"), "{errors}");
}

fn an_opt_out_and_an_erasure_need_not_wait(version: Version) {
    let world = WORLDS.on(version);
    let http = world.lethe().address();
    let ended = |messages: &[Message], reason: &str| {
        for message in messages {
            let life = [content(&message.sent(b"x")), tombstone(reason)];
            world.expect(STORE, &message.key(), &life);
        }
    };
    let messages = store(world, "leaver", [0, 2, 4, 6]);
    let out = ["policy", "set", "leaver", "--message", "out"];
    assert_eq!(ask(world, &http, &out).0, 1);
    let at_once = [&out[..], &["--confirm", "--at-once"]].concat();
    let (code, _, errors) = ask(world, &http, &at_once);
    assert_eq!(code, 0, "{errors}");
    ended(&messages, "opted-out");

    let messages = store(world, "forgotten", [0, 2, 4, 6]);
    let erase = ["erase", "place", "all-of-it", "--tenant", "forgotten"];
    let (code, _, errors) = ask(world, &http, &erase);
    assert_eq!(code, 1);
    assert!(errors.contains("4 of the 4"), "{errors}");
    let (code, _, errors) = ask(world, &http, &[&erase[..], &["--confirm"]].concat());
    assert_eq!(code, 0, "{errors}");
    ended(&messages, "erased");
}

fn what_nobody_can_count_is_refused_until_it_is_confirmed(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("unseen", "30d");
    let nobody = "127.0.0.1:1";
    let cut = ["policy", "set", "unseen", "--message-retention", "1d"];
    let (code, _, errors) = ask(world, nobody, &cut);
    assert_eq!(code, 1);
    assert!(errors.contains("is not known") && errors.contains(nobody), "{errors}");
    let (code, said, errors) = ask(world, nobody, &[&cut[..], &["--confirm"]].concat());
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("waits until"), "{said}");
    // What cannot end anything asks nobody.
    for harmless in [
        &["policy", "set", "unseen", "--message-retention", "31d"][..],
        &["policy", "set", "never-seen", "--message", "in"],
        &["hold", "place", "unseen", "--tenant", "unseen"],
        &["terms", "set", "unseen", "--minimum", "1d"],
    ] {
        let (code, _, errors) = ask(world, nobody, harmless);
        assert_eq!(code, 0, "{harmless:?}: {errors}");
    }
}

fn the_release_of_a_hold_is_counted_too(version: Version) {
    let world = WORLDS.on(version);
    let http = world.lethe().address();
    let messages = store(world, "freed", [0, 2, 4, 6]);
    world.say("hold/freed", &json!({"tenant": "freed"}));
    let out = ["policy", "set", "freed", "--message", "out", "--confirm", "--at-once", "--wait"];
    let (code, _, errors) = ask(world, &http, &out);
    assert_eq!(code, 0, "{errors}");
    all_live(world, &messages);
    let release = ["hold", "release", "freed"];
    let (code, _, errors) = ask(world, &http, &release);
    assert_eq!(code, 1);
    assert!(errors.contains("it would end 4 of the 4"), "{errors}");
    all_live(world, &messages);
    let (code, _, errors) = ask(world, &http, &[&release[..], &["--confirm"]].concat());
    assert_eq!(code, 0, "{errors}");
    for message in &messages {
        let life = [content(&message.sent(b"x")), tombstone("opted-out")];
        world.expect(STORE, &message.key(), &life);
    }
}

fn over_http_the_problem_says_what_would_end(version: Version) {
    let world = World::with(version, "safe", |_, setup| {
        setup.settings = "safety = {records = 1000, share = 50, few = 2, grace = '1h'}".to_owned();
    });
    let http = world.lethe().address();
    let messages = store(&world, "web", [0, 2, 4, 6]);
    let call = |method: &str, query: &str, body: &str| -> Answer {
        let path = format!("/v1/policies/web{query}");
        request(method, &http, &path, &[("If-Match", "*")], body)
            .unwrap_or_else(|why| panic!("{why}"))
    };
    let cut = json!({"message": {"storage": "in", "retention": "1d", "since": crate::world::EVER}});
    let cut = cut.to_string();
    let refused = call("PUT", "", &cut);
    assert_eq!((refused.status, refused.header("content-type")), (409, "application/problem+json"));
    let problem = json_of(&refused.body);
    assert_eq!(problem.pointer("/type"), Some(&json!("urn:lethe:safety-catch")));
    let toll = json!({"tenant": "web", "class": "message", "ends": 3, "of": 4});
    assert_eq!(problem.pointer("/forecast/0"), Some(&toll), "{problem}");
    assert_eq!(call("PUT", "?confirm=maybe", &cut).status, 422);

    let waits = call("PUT", "?confirm=true", &cut);
    assert_eq!(waits.status, 200, "{}", waits.body);
    assert!(json_of(&waits.body).pointer("/effective_at").is_some_and(Value::is_string));
    all_live(&world, &messages);
    let there = json_of(&call("GET", "", "").body);
    assert!(there.pointer("/waiting/value/effective_at").is_some(), "{there}");
    let later = call("DELETE", "?confirm=true", "");
    assert_eq!(later.status, 202, "{}", later.body);
    all_live(&world, &messages);
    assert_eq!(call("DELETE", "?confirm=true&at_once=true", "").status, 204);
    for message in &messages {
        let life = [content(&message.sent(b"x")), tombstone("opted-out")];
        world.expect(STORE, &message.key(), &life);
    }
}
