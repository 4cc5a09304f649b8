//! What is reported on `lethe.audit`: who has said what, and what came of it.

use std::fs;

use lethe_test_support::bus::AUDIT;
use lethe_test_support::event::{self, Message};
use lethe_test_support::http::request;
use lethe_test_support::lethe::verb;
use lethe_test_support::process;
use lethe_test_support::search;
use lethe_test_support::wait::eventually;
use serde_json::{Value, json};

use crate::world::{EVER, PROGRAM, World, content, now};
use crate::{Version, on_both_brokers};

on_both_brokers! {
    who_has_changed_what_is_reported_with_the_change;
    an_erasure_is_completed_once_when_every_partition_is_through;
}

/// The reports of a type, with their keys.
fn reports(world: &World<'_>, kind: &str) -> Vec<(String, Value)> {
    let records = world.read(AUDIT).into_iter();
    let reports = records.map(|record| {
        assert_eq!(record.partition, 0, "all are in one order");
        let value = record.value.unwrap_or_default();
        let report: Value = serde_json::from_slice(&value)
            .unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(&value)));
        (record.key, report)
    });
    reports.filter(|(_, report)| report.get("type") == Some(&json!(kind))).collect()
}

/// Those about a key.
fn about(world: &World<'_>, kind: &str, key: &str) -> Vec<Value> {
    let all = reports(world, kind).into_iter();
    all.filter(|(known, _)| known == key).map(|(_, report)| report).collect()
}

fn field(report: &Value, name: &str) -> Value {
    report.get(name).cloned().unwrap_or_default()
}

/// The same of one of them.
fn nth(reports: &[Value], number: usize, name: &str) -> Value {
    reports.get(number).map(|report| field(report, name)).unwrap_or_default()
}

fn world(version: Version, name: &str) -> World<'static> {
    let dir = process::directory("audit");
    let (key, tokens) = (dir.join("key"), dir.join("tokens.toml"));
    let write = |file, text: &str| fs::write(file, text).unwrap_or_else(|error| panic!("{error}"));
    write(&key, "0123456789abcdef");
    // printf %s secret | sha256sum
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let token = |name: &str, role: &str| {
        format!("[[token]]\nname = '{name}'\nsha256 = '{hash}'\nrole = '{role}'\n")
    };
    write(&tokens, &token("counsel", "compliance"));
    World::with(version, name, |_, setup| {
        setup.settings = format!(
            "audit_key = {:?}\nhttp_tokens = {:?}\nsafety = {{records = 1000, share = 50, few = 0}}",
            key.display().to_string(),
            tokens.display().to_string()
        );
    })
}

fn who_has_changed_what_is_reported_with_the_change(version: Version) {
    let world = world(version, "authors");
    let http = world.lethe().address();
    let config = world.setup.write_config().display().to_string();
    let ask = |args: &[&str]| {
        let own = ["--config", &config, "--brokers", &world.setup.brokers, "--by", "ada"];
        verb(PROGRAM, &[args, &own].concat())
    };
    let hold = ["hold", "place", "case-1", "--tenant", "a", "--user", "a-planted-user"];
    let (code, _, errors) = ask(&[&hold[..], &["--reason", "planted reason"]].concat());
    assert_eq!(code, 0, "{errors}");
    let made = about(&world, "change-made", "hold/case-1");
    assert_eq!(made.len(), 1);
    assert_eq!((nth(&made, 0, "by"), nth(&made, 0, "via")), (json!("ada"), json!("cli")));
    assert_eq!(nth(&made, 0, "replaces"), Value::Null);
    let hash = nth(&made, 0, "value").pointer("/user").cloned().unwrap_or_default();
    assert_eq!(hash.as_str().map(str::len), Some(32), "{hash}");
    eventually("the hold to be in force", || {
        match about(&world, "hold-in-force", "hold/case-1").as_slice() {
            [one] if field(one, "control_offset") == nth(&made, 0, "control_offset") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });

    // Over HTTP it is the token's name; what is refused is reported, too.
    let headers = [("Authorization", "Bearer secret"), ("If-Match", "\"99999\"")];
    let release = |headers: &[(&str, &str)]| {
        let answer = request("DELETE", &http, "/v1/holds/case-1?confirm=true", headers, "");
        answer.unwrap_or_else(|why| panic!("{why}")).status
    };
    assert_eq!(release(&headers), 412);
    assert_eq!(release(&[headers[0], ("If-Match", "*")]), 204);
    let refused = about(&world, "change-refused", "hold/case-1");
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (nth(&refused, 0, "by"), nth(&refused, 0, "why")),
        (json!("counsel"), json!("conflict"))
    );
    let made = about(&world, "change-made", "hold/case-1");
    assert_eq!((nth(&made, 1, "by"), nth(&made, 1, "via")), (json!("counsel"), json!("http")));
    assert_eq!(nth(&made, 1, "value"), Value::Null);
    assert_eq!(nth(&made, 1, "replaces"), nth(&made, 0, "control_offset"));
    eventually("the hold to be released", || {
        match about(&world, "hold-released", "hold/case-1").len() {
            1 => Ok(()),
            count => Err(format!("{count} reports")),
        }
    });

    // The safety catch: held, then confirmed. Nobody has the right token, so nobody knows what would end.
    let nobody = ["--endpoints", "127.0.0.1:1"];
    let set = ["policy", "set", "a", "--message", "in", "--message-since", EVER];
    assert_eq!(ask(&[&set[..], &["--message-retention", "30d"]].concat()).0, 0);
    let cut = [&["policy", "set", "a", "--message-retention", "1d"][..], &nobody].concat();
    assert_eq!(ask(&cut).0, 1);
    let refused = about(&world, "change-refused", "tenant/a");
    assert_eq!(refused.len(), 1);
    assert_eq!(nth(&refused, 0, "why"), json!("safety-catch"));
    assert_eq!(ask(&[&cut[..], &["--confirm"]].concat()).0, 0);
    let confirmed = about(&world, "change-confirmed", "tenant/a");
    assert_eq!(confirmed.len(), 1);
    assert_eq!(nth(&confirmed, 0, "forecast"), Value::Null);
    assert!(nth(&confirmed, 0, "effective_at_ms").as_i64() > Some(now()), "{confirmed:?}");
    for record in world.read(AUDIT) {
        assert!(!search::contains(&record.value.unwrap_or_default(), b"planted"));
    }
}

fn an_erasure_is_completed_once_when_every_partition_is_through(version: Version) {
    let world = World::new(version, "completed");
    world.opt_in("gone", "30d");
    for (number, partition) in [(1, 0), (2, 1)] {
        let message = Message::new("gone", "c1", &format!("m{number}"), now() - 1_000);
        world.send("im.messages", partition, &message.sent(b"x"));
        world.expect("store.messages", &message.key(), &[content(&message.sent(b"x"))]);
    }
    let profile = event::profile_updated("gone", "alice", now() - 1_000, b"p");
    world.send("im.profiles", 1, &profile);
    let key = event::record_key(&["gone", "alice"]);
    world.expect("store.profiles", &key, &[content(&profile)]);

    let completed = |id: &str| about(&world, "erasure-completed", &format!("erasure/{id}"));
    let erase = |id: &str| {
        let offset = world.control(&format!("erasure/{id}"), &json!({"tenant": "gone"}));
        eventually("the erasure to be completed", || match completed(id).len() {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        });
        offset
    };
    let offset = erase("first");
    let report = completed("first").remove(0);
    assert_eq!(field(&report, "control_offset"), json!(offset));
    let of = |pointer: &str| report.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(
        (of("/by_class/message/ended"), of("/by_class/profile/ended")),
        (json!(2), json!(1))
    );
    assert_eq!(of("/by_class/config/ended"), json!(0));
    let done = about(&world, "erasure-done", "erasure/first");
    assert_eq!(json!(done.len()), of("/partitions"), "each partition has said so before");
    assert_eq!(done.len(), 6);

    // A process that ends meanwhile says nothing twice, and what it left is said by the next one.
    let key = "erasure/second";
    world.control(key, &json!({"tenant": "gone"}));
    world.lethe().kill();
    world.start_again();
    eventually("the second erasure to be completed", || match completed("second").len() {
        0 => Err("not yet".to_owned()),
        _ => Ok(()),
    });
    erase("third");
    for id in ["first", "second", "third"] {
        assert_eq!(completed(id).len(), 1, "{id}");
    }
}
