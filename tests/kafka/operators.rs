//! What operators change with the program itself: policies, terms, holds.

use std::fs;

use lethe_test_support::event::Message;
use lethe_test_support::http::request;
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
    change_policies_over_http;
    need_a_token_where_there_are_tokens;
    are_refused_what_the_processor_would_refuse;
}

/// Asks the program for something on the world's control topic.
fn ask(world: &World<'_>, args: &[&str]) -> (i32, String, String) {
    let config = world.setup.write_config().display().to_string();
    let mut all = args.to_vec();
    all.extend(["--config", &config, "--brokers", &world.setup.brokers]);
    verb(PROGRAM, &all)
}

/// The same for a change, and it is in force everywhere: what it printed.
fn in_force(world: &World<'_>, args: &[&str]) -> String {
    changed(world, &[args, &["--wait"]].concat())
}

/// The same for a change, of which the world's process counts what it would end.
fn changed(world: &World<'_>, args: &[&str]) -> String {
    let http = world.lethe().address();
    done(world, &[args, &["--endpoints", &http]].concat())
}

/// The same, and it works: what it printed.
fn done(world: &World<'_>, args: &[&str]) -> String {
    let (code, said, errors) = ask(world, args);
    assert_eq!(code, 0, "lethe {}: {errors}", args.join(" "));
    said
}

/// What JSON says at a pointer.
fn at(text: &str, pointer: &str) -> Value {
    let json: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    json.pointer(pointer).cloned().unwrap_or_default()
}

fn opt_a_tenant_in_and_out(version: Version) {
    let world = WORLDS.on(version);
    let set = ["policy", "set", "chooser", "--message", "in", "--message-retention", "30d"];
    in_force(world, &[&set[..], &["--message-since", "2000-01-01T00:00:00Z"]].concat());
    let message = Message::new("chooser", "c1", "m1", now());
    world.tell(&message.sent(b"stored"));
    world.expect(STORE, &message.key(), &[content(&message.sent(b"stored"))]);

    let out = changed(world, &["policy", "set", "chooser", "--message", "out", "--json"]);
    let life = [content(&message.sent(b"stored")), tombstone("opted-out")];
    world.expect(STORE, &message.key(), &life);
    let policy = world.records(STORE, &message.key()).remove(1).header("lethe-policy");
    assert_eq!(policy, Some(at(&out, "/0/offset").to_string()));

    // In again: what was sent before the way back in stays out.
    let again = ["policy", "set", "chooser", "--message", "in", "--json"];
    let again = in_force(world, &again);
    assert!(at(&again, "/0/after/message/since").is_string(), "{again}");
    let old = Message::new("chooser", "c1", "m2", now() - 60_000);
    world.tell(&old.sent(b"passes"));
    world.expect(TRANSIT, &old.key(), &[content(&old.sent(b"passes"))]);
}

fn are_told_when_somebody_else_was_faster(version: Version) {
    let world = WORLDS.on(version);
    let first = done(world, &["terms", "set", "contested", "--minimum", "1d", "--json"]);
    let seen = at(&first, "/0/offset").to_string();
    done(world, &["terms", "set", "contested", "--minimum", "2d", "--if-offset", &seen]);
    let late = ["terms", "set", "contested", "--minimum", "3d", "--if-offset", &seen];
    let (code, _, errors) = ask(world, &late);
    assert_eq!(code, 1);
    assert!(errors.contains("terms/contested was changed meanwhile"), "{errors}");
    let there = done(world, &["terms", "get", "contested", "--json"]);
    assert_eq!(at(&there, "/in_force/value/minimum"), "2d");
}

fn do_not_overwrite_each_other(version: Version) {
    let world = WORLDS.on(version);
    done(world, &["hold", "place", "race", "--tenant", "nobody-0"]);
    let place = ["hold", "place", "race", "--replace", "--tenant", "nobody", "--json"];
    let seen = at(&changed(world, &place), "/0/offset").to_string();
    let http = world.lethe().address();
    let wins = std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=4)
            .map(|number| {
                let (tenant, seen, http) = (format!("nobody-{number}"), &seen, &http);
                scope.spawn(move || {
                    let place = ["hold", "place", "race", "--replace", "--tenant", &tenant];
                    let how = ["--if-offset", seen, "--endpoints", http];
                    ask(world, &[&place[..], &how].concat()).0
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
    let diff = done(world, &["policy", "diff", "-f", &path, "--json"]);
    assert_eq!(at(&diff, "").as_array().map(Vec::len), Some(2));
    in_force(world, &["policy", "apply", "-f", &path]);
    let message = Message::new("filed", "c1", "m1", now());
    world.tell(&message.sent(b"x"));
    world.expect(STORE, &message.key(), &[content(&message.sent(b"x"))]);
    let again = done(world, &["policy", "apply", "-f", &path, "--json"]);
    assert_eq!(again.trim(), "[]");

    // One record that is refused: none of them is written.
    write(r#"{"tenant/filed": {}, "conversation/filed/c1": {"retention": "soon"}}"#);
    let (code, _, errors) = ask(world, &["policy", "apply", "-f", &path]);
    assert_eq!(code, 2);
    assert!(errors.contains("conversation/filed/c1"), "{errors}");
    let there = done(world, &["policy", "get", "filed", "--json"]);
    assert_eq!(at(&there, "/in_force/value/message/storage"), "in");
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
    assert_eq!(done(world, &same).trim(), "[]");
    let (code, _, errors) = ask(world, &["hold", "place", "case-1", "--tenant", "other"]);
    assert_eq!(code, 1);
    assert!(errors.contains("case-1"), "{errors}");

    changed(world, &["policy", "set", "held", "--message", "out"]);
    world.expect_settled(STORE, &message.key(), &[content(&message.sent(b"kept"))]);
    changed(world, &["hold", "release", "case-1"]);
    let life = [content(&message.sent(b"kept")), tombstone("opted-out")];
    world.expect(STORE, &message.key(), &life);
    assert_eq!(ask(world, &["hold", "release", "never-placed"]).0, 1);
}

fn are_refused_what_the_processor_would_refuse(version: Version) {
    let world = WORLDS.on(version);
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
    for kind in ["policy", "terms"] {
        let (code, _, errors) = ask(world, &[kind, "get", "picky"]);
        assert_eq!(code, 1, "nothing was written");
        assert!(errors.contains("nothing is said"), "{errors}");
    }
}

fn change_policies_over_http(version: Version) {
    let world = WORLDS.on(version);
    let http = world.lethe().address();
    let call = |method: &str, headers: &[(&str, &str)], body: &str| {
        request(method, &http, "/v1/policies/web", headers, body)
            .unwrap_or_else(|why| panic!("{why}"))
    };
    let refused = |headers: &[(&str, &str)], body: &str| call("PUT", headers, body).status;
    assert_eq!(call("GET", &[], "").status, 404);
    let new = r#"{"message": {"storage": "in", "since": "2000-01-01T00:00:00Z"}}"#;
    assert_eq!(refused(&[], new), 428, "it does not say what it replaces");
    let created = call("PUT", &[("If-None-Match", "*")], new);
    assert_eq!(created.status, 201);
    assert_eq!(refused(&[("If-None-Match", "*")], new), 412, "it is there");
    let there = call("GET", &[], "");
    assert_eq!((there.status, there.header("etag")), (200, created.header("etag")));
    assert_eq!(at(&there.body, "/in_force/value/message/storage"), "in");

    world.wait_until_in_force();
    let message = Message::new("web", "c1", "m1", now());
    world.tell(&message.sent(b"x"));
    world.expect(STORE, &message.key(), &[content(&message.sent(b"x"))]);

    let seen = [("If-Match", there.header("etag"))];
    let wrong = call("PUT", &seen, r#"{"message": {"storage": "?"}}"#);
    assert_eq!((wrong.status, wrong.header("content-type")), (422, "application/problem+json"));
    assert_eq!(at(&wrong.body, "/status"), 422);
    assert_eq!(call("DELETE", &seen, "").status, 204);
    assert_eq!(call("DELETE", &seen, "").status, 412, "it is another one now");
    let life = [content(&message.sent(b"x")), tombstone("opted-out")];
    world.expect(STORE, &message.key(), &life);
    assert_eq!(call("PATCH", &[], "").status, 405);
    assert_eq!(refused(&[("If-Match", "*")], &" ".repeat(100 << 10)), 413);
}

fn need_a_token_where_there_are_tokens(version: Version) {
    let file = process::directory("tokens").join("tokens.toml");
    // printf %s secret | sha256sum
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let tokens = format!(
        "[[token]]\nname = 'shop'\nsha256 = '{hash}'\nrole = 'tenant'\ntenants = ['shop']\n"
    );
    fs::write(&file, tokens).unwrap_or_else(|error| panic!("{error}"));
    let world = World::with(version, "tokens", |_, setup| {
        setup.settings = format!("http_tokens = {:?}", file.display().to_string());
    });
    let http = world.lethe().address();
    let put = |tenant: &str, token: &str| {
        let headers = [("Authorization", token), ("If-Match", "*")];
        let body = r#"{"profile": {"storage": "in"}}"#;
        let answer = request("PUT", &http, &format!("/v1/policies/{tenant}"), &headers, body);
        answer.unwrap_or_else(|why| panic!("{why}")).status
    };
    assert_eq!(put("shop", "Bearer wrong"), 401);
    assert_eq!(put("other", "Bearer secret"), 403);
    assert_eq!(put("shop", "Bearer secret"), 200);
    assert_eq!(world.lethe().get("/livez").map(|(status, _)| status), Ok(200));
    assert!(!world.lethe().said().contains("secret"));
}
