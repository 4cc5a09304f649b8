//! A load of messages whose outputs are known beforehand, and the comparison of each with what came.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lethe_test_support::bus::Put;
use lethe_test_support::event::Message;
use lethe_test_support::record::Record;
use lethe_test_support::wait::eventually;

use crate::world::{Step, World, content, now, stored, tombstone};

/// Of ten tenants seven are opted in, as in the figures that lethe is measured by.
const TENANTS: usize = 10;
const TENANTS_IN: usize = 7;

const INPUT: &str = "im.messages";

/// Messages of one put.
const BATCH: usize = 100;

/// Between two batches: some ten thousand records a second, so that faults strike in the middle of work.
const PAUSE: Duration = Duration::from_millis(10);

/// Messages of one load at most: what a slow machine compares in a few seconds.
const MESSAGES_MAX: usize = 100_000;

/// The number of the first message of a history: behind those of every load.
const HISTORY_FIRST: usize = 10 * MESSAGES_MAX;

/// The tenants' policies; in force once lethe has read them.
pub(crate) fn opt_in(world: &World<'_>) {
    for number in 0..TENANTS_IN {
        world.control(&format!("tenant/load{number}"), &stored("30d"));
    }
    world.wait_until_in_force();
}

/// Sends messages, each delivered and every tenth recalled too, and gives them.
pub(crate) fn send(world: &World<'_>, count: usize) -> Vec<Message> {
    send_from(world, 0, count)
}

/// The same, after `first` others.
pub(crate) fn send_from(world: &World<'_>, first: usize, count: usize) -> Vec<Message> {
    let mut sent = Vec::new();
    while sent.len() < count {
        let batch = batch(first + sent.len(), BATCH.min(count - sent.len()));
        send_batch(world, INPUT, &batch);
        sent.extend(batch);
    }
    sent
}

/// Messages of another topic that nobody else sends, and gives them.
pub(crate) fn history(world: &World<'_>, topic: &str, count: usize) -> Vec<Message> {
    let messages = batch(HISTORY_FIRST, count);
    for batch in messages.chunks(BATCH) {
        send_batch(world, topic, batch);
    }
    messages
}

/// Sends messages until it is told to stop, beside what the case does.
pub(crate) fn send_beside(world: &World<'_>, case: impl FnOnce()) -> Vec<Message> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut sent = Vec::new();
            while !stop.load(Ordering::Relaxed) && sent.len() < MESSAGES_MAX {
                let batch = batch(sent.len(), BATCH);
                send_batch(world, INPUT, &batch);
                sent.extend(batch);
                thread::sleep(PAUSE);
            }
            sent
        });
        let stopper = StopAtEnd(&stop);
        case();
        drop(stopper);
        load.join().unwrap_or_else(|_| panic!("the load failed"))
    })
}

/// Sends the same records again.
pub(crate) fn send_again(world: &World<'_>, messages: &[Message]) {
    for batch in messages.chunks(BATCH) {
        send_batch(world, INPUT, batch);
    }
}

/// The tenants keep nothing any longer: waits until everything has ended.
pub(crate) fn end(world: &World<'_>, messages: &[Message]) {
    for number in 0..TENANTS_IN {
        world.control(&format!("tenant/load{number}"), &stored("1s"));
    }
    let live = messages.iter().filter(|message| is_in(message) && !is_recalled(message)).count();
    eventually("everything to end", || {
        let expired = |record: &Record| record.reason().as_deref() == Some("expired");
        let ended = world.read("store.messages").iter().filter(|record| expired(record)).count();
        if ended >= live { Ok(()) } else { Err(format!("{ended} of {live} have ended")) }
    });
    verify_ended(world, messages);
}

/// Compares each message's outputs with what they must be, once all input has been processed.
pub(crate) fn verify(world: &World<'_>, messages: &[Message]) {
    compare(world, messages, expected);
}

/// The same once everything has ended.
pub(crate) fn verify_ended(world: &World<'_>, messages: &[Message]) {
    compare(world, messages, |message| {
        let (mut stored, passed) = expected(message);
        if let [Step::Content(_)] = stored.as_slice() {
            stored.push(tombstone("expired"));
        }
        (stored, passed)
    });
}

fn compare(
    world: &World<'_>,
    messages: &[Message],
    expected: impl Fn(&Message) -> (Vec<Step>, Vec<Step>),
) {
    world.settle();
    let mut store = lives(world, "store.messages");
    let mut transit = lives(world, "transit.messages");
    for message in messages {
        let (stored, passed) = expected(message);
        let key = message.key();
        assert_eq!(store.remove(&key).unwrap_or_default(), stored, "{key} on store.messages");
        assert_eq!(transit.remove(&key).unwrap_or_default(), passed, "{key} on transit.messages");
    }
    assert!(store.is_empty(), "nobody sent these: {store:?}");
    assert!(transit.is_empty(), "nobody sent these: {transit:?}");
}

fn lives(world: &World<'_>, topic: &str) -> BTreeMap<String, Vec<Step>> {
    let mut lives: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    for record in world.read(topic) {
        if record.key.starts_with("load") {
            lives.entry(record.key.clone()).or_default().push(crate::world::step(record));
        }
    }
    lives
}

/// What is stored and what passes.
fn expected(message: &Message) -> (Vec<Step>, Vec<Step>) {
    let value = content(&message.sent(message.key().as_bytes()));
    match (is_in(message), is_recalled(message)) {
        (true, true) => (vec![value, tombstone("recalled")], Vec::new()),
        (true, false) => (vec![value], Vec::new()),
        (false, _) => (Vec::new(), vec![value, tombstone("delivered")]),
    }
}

fn is_in(message: &Message) -> bool {
    (0..TENANTS_IN).any(|number| message.tenant == format!("load{number}"))
}

fn is_recalled(message: &Message) -> bool {
    message.id.ends_with('0')
}

fn batch(first: usize, count: usize) -> Vec<Message> {
    let message = |number: usize| {
        let (tenant, conversation) =
            (format!("load{}", number / 10 % TENANTS), format!("c{}", number % 7));
        Message::new(&tenant, &conversation, &number.to_string(), now())
    };
    (first..first + count).map(message).collect()
}

fn send_batch(world: &World<'_>, topic: &str, batch: &[Message]) {
    let events: Vec<(i32, Vec<u8>)> =
        batch.iter().flat_map(|message| events(world, message)).collect();
    world.put_all(
        topic,
        events.iter().map(|(partition, value)| Put {
            partition: *partition,
            key: "load",
            value: Some(value),
            headers: &[],
        }),
    );
}

fn events(world: &World<'_>, message: &Message) -> Vec<(i32, Vec<u8>)> {
    let number: i32 = message.id.parse().unwrap_or(0);
    let partition = number % 7 % world.partitions();
    let mut events = vec![message.sent(message.key().as_bytes()), message.delivered("bob")];
    if is_recalled(message) {
        events.push(message.recalled());
    }
    events.into_iter().map(|value| (partition, value)).collect()
}

/// Stops the load also where the case fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
