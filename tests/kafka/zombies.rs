//! Processes that were away for longer than the group waits, and two of one name: nobody commits in another
//! one's place.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use lethe_test_support::broker::Broker;
use lethe_test_support::event::Message;
use lethe_test_support::lethe::{Lethe, Setup};
use lethe_test_support::proxy::{Proxy, Request, Rule};
use lethe_test_support::wait::eventually;
use serde_json::json;

use crate::world::{Step, World, content, now, stored, tombstone};
use crate::{Version, load, on_both_brokers};

/// Short, so that a case need not wait; far above a heartbeat.
const SESSION_MS: u32 = 3_000;
/// Messages that end at once.
const MESSAGES: usize = 200;
/// Partitions of all three inputs.
const PARTITIONS: f64 = 6.0;

on_both_brokers! {
    a_process_away_past_its_session_rejoins_and_repeats_nothing;
    a_process_that_does_not_hear_of_a_rebalance_gives_up_what_it_held;
    time_and_sweeps_alone_are_fenced_too;
    of_two_processes_with_one_name_the_older_stops;
}

/// The group gives up on a process after [`SESSION_MS`].
fn impatient(setup: &mut Setup) {
    let heartbeat = SESSION_MS / 6;
    setup.kafka.insert("session.timeout.ms".to_owned(), SESSION_MS.to_string());
    setup.kafka.insert("heartbeat.interval.ms".to_owned(), heartbeat.to_string());
}

fn second(world: &World<'_>) -> Setup {
    let mut second = world.setup.clone();
    second.brokers = world.broker().address();
    second.instance = "second".to_owned();
    second.data = lethe_test_support::process::directory("second");
    second
}

fn assigned(lethe: &Lethe) -> f64 {
    lethe.metric("lethe_partitions", &[("state", "assigned")]).unwrap_or(0.0)
}

/// The group has given everything to one process.
fn wait_until_it_has_all(lethe: &Lethe) {
    eventually("the group to give everything to one process", || match assigned(lethe) {
        PARTITIONS => Ok(()),
        some => Err(format!("it has {some} partitions")),
    });
}

/// It has partitions again, and works.
fn wait_until_it_is_back(world: &World<'_>) {
    eventually("the process to be back in its group", || {
        let mut lethe = world.lethe();
        assert!(lethe.is_running(), "{}", lethe.said());
        let (status, page) = lethe.get("/readyz")?;
        let count = assigned(&lethe);
        if status == 200 && count > 0.0 {
            Ok(())
        } else {
            Err(format!("{count}, {status}: {page}"))
        }
    });
}

fn a_process_away_past_its_session_rejoins_and_repeats_nothing(version: Version) {
    let world = World::with(version, "zombie.load", |_, setup| impatient(setup));
    load::opt_in(&world);
    let messages = load::send_beside(&world, || {
        let second = second(&world).run();
        world.lethe().pause();
        wait_until_it_has_all(&second);
        world.lethe().go_on();
        wait_until_it_is_back(&world);
        world.settle();
    });
    load::verify(&world, &messages);
}

/// librdkafka keeps what a member holds while the group goes on without it, and says nothing when it is back
/// and holds the same: others have worked on it meanwhile.
fn a_process_that_does_not_hear_of_a_rebalance_gives_up_what_it_held(version: Version) {
    let broker = Broker::own(version);
    let proxy = broker.proxy();
    let world = World::over(&broker, "zombie.deaf", |_, setup| {
        setup.brokers = proxy.address();
        impatient(setup);
        // How long a rebalance waits for a member, and a member for its answer.
        setup.kafka.insert("max.poll.interval.ms".to_owned(), (2 * SESSION_MS).to_string());
    });
    load::opt_in(&world);
    let messages = load::send_beside(&world, || {
        proxy.rule(Request::JoinGroup, Rule::Lose);
        // A rebalance, of which the first process hears only that there is one.
        let mut second = second(&world).start();
        eventually("the other process to serve its pages", || second.get("/livez").map(|_| ()));
        wait_until_it_has_all(&second);
        wait_until_it_works(&second);
        proxy.pass(Request::JoinGroup);
        wait_until_it_works(&world.lethe());
        assert!(second.terminate().success(), "{}", second.said());
        world.settle();
    });
    assert!(proxy.struck(Request::JoinGroup) > 0, "it took part in the rebalance");
    load::verify(&world, &messages);
}

/// It has processed records since now.
fn wait_until_it_works(lethe: &Lethe) {
    let count = || lethe.metric("lethe_records_total", &[]).unwrap_or(0.0);
    let before = count();
    eventually("the process to work", || {
        let after = count();
        if after > before { Ok(()) } else { Err(format!("{after} records")) }
    });
}

/// What ends a tenant's messages without any input.
enum Work {
    /// Their retention.
    Expiry,
    /// Their tenant's change of mind.
    Sweep,
}

fn time_and_sweeps_alone_are_fenced_too(version: Version) {
    let broker = Broker::own(version);
    let proxy = broker.proxy();
    let world = World::over(&broker, "zombie.idle", |_, setup| {
        setup.brokers = proxy.address();
        impatient(setup);
    });
    for work in [Work::Expiry, Work::Sweep] {
        let (messages, reason) = match work {
            Work::Expiry => (about_to_expire(&world), "expired"),
            Work::Sweep => (kept(&world, "turned", "30d"), "opted-out"),
        };
        let end = world.high_watermarks("store.messages").iter().sum::<i64>();
        // The tombstones are written and their positions sent, but these do not arrive.
        proxy.rule(Request::TxnOffsetCommit, Rule::Keep);
        if matches!(work, Work::Sweep) {
            world.control("tenant/turned", &json!({"message": {"storage": "out"}}));
        }
        commit_late(&world, &proxy, end);
        let expected = |message: &Message| {
            vec![content(&message.sent(message.key().as_bytes())), tombstone(reason)]
        };
        expect_all(&world, &messages, expected);
    }
}

/// Messages of one moment, kept for so long, which lethe has processed.
fn kept(world: &World<'_>, tenant: &str, retention: &str) -> Vec<Message> {
    world.opt_in(tenant, retention);
    let sent_at_ms = now();
    let messages: Vec<Message> = (0..MESSAGES)
        .map(|number| Message::new(tenant, "c", &number.to_string(), sent_at_ms))
        .collect();
    for message in &messages {
        world.tell(&message.sent(message.key().as_bytes()));
    }
    world.settle();
    messages
}

/// Messages that expire within a second or so, all of them at once. On a machine that is too slow for a
/// retention the next one is tried.
fn about_to_expire(world: &World<'_>) -> Vec<Message> {
    for seconds in [8, 32, 128] {
        let begun_ms = now();
        let messages = kept(world, &format!("aged{seconds}"), &format!("{seconds}s"));
        let early_ms = begun_ms + (seconds - 1) * 1_000;
        if let Ok(wait_ms) = u64::try_from(early_ms - now()) {
            thread::sleep(Duration::from_millis(wait_ms));
            return messages;
        }
    }
    panic!("the machine is too slow");
}

/// The process stands still within its transaction, loses its partitions, and goes on.
fn commit_late(world: &World<'_>, proxy: &Proxy, end: i64) {
    eventually("the open transaction to hold the tombstones", || {
        let now = world.high_watermarks("store.messages").iter().sum::<i64>();
        let struck = proxy.struck(Request::TxnOffsetCommit);
        let open = now >= end + MESSAGES as i64 && struck > 0;
        if open { Ok(()) } else { Err(format!("{} records, {struck} requests", now - end)) }
    });
    world.lethe().pause();
    let mut second = second(world).start();
    eventually("the other process to serve its pages", || second.get("/livez").map(|_| ()));
    wait_until_it_has_all(&second);
    world.lethe().go_on();
    proxy.pass(Request::TxnOffsetCommit);
    proxy.release();
    wait_until_it_is_back(world);
    assert!(second.terminate().success(), "{}", second.said());
}

/// Each message has become what it had to, and nothing else.
fn expect_all(world: &World<'_>, messages: &[Message], expected: impl Fn(&Message) -> Vec<Step>) {
    eventually("every message to have ended", || {
        let tenant = messages.first().map_or("", |message| message.tenant.as_str());
        let records = world.read_of("store.messages", tenant);
        let mut wrong = String::new();
        for message in messages {
            let of = records.iter().filter(|record| record.key == message.key());
            let life: Vec<Step> = of.cloned().map(crate::world::step).collect();
            let wanted = expected(message);
            assert!(wanted.starts_with(&life), "{}: {life:?}", message.key());
            if life != wanted {
                let _ = write!(wrong, "{}: {life:?}; ", message.key());
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
}

fn of_two_processes_with_one_name_the_older_stops(version: Version) {
    let world = World::new(version, "zombie.twin");
    load::opt_in(&world);
    world.say("tenant/other", &stored("1d"));
    let messages = load::send_beside(&world, || {
        let mut younger = second(&world);
        younger.instance.clone_from(&world.setup.instance);
        let younger = younger.run();
        let mut older = std::mem::replace(&mut *world.lethe(), younger);
        assert_eq!(older.wait().code(), Some(1), "{}", older.said());
        let said = older.said();
        let error = said.lines().rfind(|line| line.contains("ERROR")).unwrap_or_default();
        assert!(error.contains(&world.setup.instance) && error.contains("--instance"), "{said}");
        world.settle();
    });
    load::verify(&world, &messages);
    assert!(world.lethe().is_running());
}
