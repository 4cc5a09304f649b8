//! Commits whose answer never comes, aborts amid work, and the stop of a process under load: what became of a
//! transaction is read, never assumed.

use std::time::Instant;

use lethe_test_support::broker::Broker;
use lethe_test_support::bus::INPUTS;
use lethe_test_support::proxy::{Proxy, Request, Rule};
use lethe_test_support::wait::eventually;

use crate::world::World;
use crate::{Version, load, on_both_brokers};

/// Enough for several transactions on each partition.
const MESSAGES: usize = 1_000;

on_both_brokers! {
    a_commit_without_an_answer_is_read;
    an_abort_with_records_in_flight_keeps_the_producer;
    a_process_told_to_stop_under_load_leaves_nothing_to_replay;
}

/// lethe on a broker that it reaches through a proxy alone.
fn behind<'b>(broker: &'b Broker, proxy: &Proxy, name: &str) -> World<'b> {
    World::over(broker, name, |_, setup| setup.brokers = proxy.address())
}

fn transactions(world: &World<'_>, result: &str) -> f64 {
    world.lethe().metric("lethe_transactions_total", &[("result", result)]).unwrap_or(0.0)
}

fn processed(world: &World<'_>) -> f64 {
    world.lethe().metric("lethe_records_total", &[]).unwrap_or(0.0)
}

fn wait_for_one_more(world: &World<'_>, result: &str, before: f64) {
    eventually(&format!("a transaction to be {result}"), || {
        assert!(world.lethe().is_running(), "{}", world.lethe().said());
        let count = transactions(world, result);
        if count > before { Ok(()) } else { Err(format!("{count} are {result}")) }
    });
}

/// How many records the inputs hold.
fn records(world: &World<'_>) -> f64 {
    let ends = INPUTS.iter().flat_map(|input| world.high_watermarks(input));
    ends.sum::<i64>() as f64
}

fn a_commit_without_an_answer_is_read(version: Version) {
    let broker = Broker::own(version);
    let proxy = broker.proxy();
    let world = behind(&broker, &proxy, "outcome.commit");
    load::opt_in(&world);
    let mut messages = Vec::new();
    // Committed, not committed, and committed with an answer that comes when nobody waits for it.
    for rule in [Rule::LoseAnswer, Rule::Lose, Rule::KeepAnswer] {
        let (before, struck) = (transactions(&world, "unknown"), proxy.struck(Request::EndTxn));
        proxy.rule(Request::EndTxn, rule);
        messages.extend(load::send_from(&world, messages.len(), MESSAGES));
        wait_for_one_more(&world, "unknown", before);
        assert!(proxy.struck(Request::EndTxn) > struck, "{rule:?} struck nothing");
        proxy.pass(Request::EndTxn);
        proxy.release();
        load::verify(&world, &messages);
        // Also those of the transaction whose answer did not come are counted, and once.
        eventually(&format!("{rule:?}: each record to be counted once"), || {
            let (all, counted) = (records(&world), processed(&world));
            assert!(counted <= all, "{rule:?}: {counted} of {all}");
            if counted == all { Ok(()) } else { Err(format!("{counted} of {all}")) }
        });
    }
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
}

fn an_abort_with_records_in_flight_keeps_the_producer(version: Version) {
    let broker = Broker::own(version);
    let proxy = broker.proxy();
    let world = World::over(&broker, "outcome.abort", |_, setup| {
        setup.brokers = proxy.address();
        // Long transactions: there is one at hand when the group gives up on the process.
        setup.settings.push_str("commit_interval = \"1s\"\n");
        setup.kafka.insert("session.timeout.ms".to_owned(), "3000".to_owned());
        setup.kafka.insert("heartbeat.interval.ms".to_owned(), "500".to_owned());
    });
    load::opt_in(&world);
    let messages = load::send_beside(&world, || {
        let before = transactions(&world, "aborted");
        proxy.rule(Request::Heartbeat, Rule::Lose);
        wait_for_one_more(&world, "aborted", before);
        proxy.pass(Request::Heartbeat);
        world.settle();
    });
    load::verify(&world, &messages);
    assert_eq!(transactions(&world, "unknown"), 0.0, "the producer was replaced");
}

fn a_process_told_to_stop_under_load_leaves_nothing_to_replay(version: Version) {
    let world = World::new(version, "outcome.stop");
    load::opt_in(&world);
    let partitions = usize::try_from(world.partitions()).unwrap_or(0);
    let messages = load::send_beside(&world, || {
        let before = processed(&world);
        eventually("work", || {
            let now = processed(&world);
            if now > before + MESSAGES as f64 { Ok(()) } else { Err(format!("{now} records")) }
        });
        let start = Instant::now();
        let status = world.lethe().terminate();
        println!("Kafka {version}: stopped under load within {:?}", start.elapsed());
        assert_eq!(status.code(), Some(0), "{}", world.lethe().said());
        let left = INPUTS.iter().flat_map(|input| {
            let committed = world.committed(&world.setup.group, input, partitions);
            committed.into_iter().map(|offset| offset.unwrap_or(0))
        });
        let done = left.sum::<i64>() as f64;
        world.start_again();
        // The last delta of each partition is looked at again, and nothing else.
        let restored = world.lethe().metric("lethe_restored_records_total", &[]).unwrap_or(0.0);
        let all = (INPUTS.len() * partitions) as f64;
        assert!(restored <= all, "{restored} records restored");
        world.settle();
        eventually("each record to be processed by one of the two", || {
            let (now, all) = (processed(&world), records(&world));
            if done + now >= all { Ok(()) } else { Err(format!("{done} and {now} of {all}")) }
        });
        let known = world.outcomes("known");
        assert_eq!(known, 0.0, "records were processed again");
    });
    load::verify(&world, &messages);
}
