//! The brokers and clients that the other cases stand on do what those expect of them.

use lethe_test_support::broker::Broker;
use lethe_test_support::bus::{Bus, CONTROL, Put};
use lethe_test_support::kcat;

use crate::{Version, on_both_brokers};

on_both_brokers! {
    what_is_produced_is_read_back;
    kcat_and_rdkafka_see_the_same;
    a_topic_keeps_its_settings;
    a_stopped_broker_comes_back_with_its_records;
}

fn what_is_produced_is_read_back(version: Version) {
    let bus = Bus::new(Broker::shared(version), "brokers.round", 2);
    let headers = [("trace", "1")];
    let value = Some(b"\x00content\xff".as_slice());
    let offset = bus.put("im.messages", Put { partition: 1, key: "a", value, headers: &headers });
    bus.put("im.messages", Put { partition: 0, key: "b", value: None, headers: &[] });
    let mut records = bus.read("im.messages");
    records.sort_by_key(|record| record.partition);
    let [null, content] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((content.partition, content.offset, content.key.as_str()), (1, offset, "a"));
    assert_eq!(content.value.as_deref(), value);
    assert_eq!(content.header("trace").as_deref(), Some("1"));
    assert_eq!((null.key.as_str(), &null.value), ("b", &None));
}

fn kcat_and_rdkafka_see_the_same(version: Version) {
    let bus = Bus::new(Broker::shared(version), "brokers.kcat", 1);
    let value = b"\x0a\x00line\nmore".as_slice();
    kcat::produce(bus.broker(), &bus.topic("im.profiles"), 0, "k:ey", value, &[("trace", "2")]);
    bus.put("im.profiles", Put { key: "gone", ..Put::default() });
    let records = bus.read("im.profiles");
    let trace: Vec<_> = records.iter().map(|record| record.header("trace")).collect();
    assert_eq!(trace, [Some("2".to_owned()), None]);
    let seen = kcat::consume(bus.broker(), &bus.topic("im.profiles"));
    assert_eq!(seen, [("k:ey".to_owned(), value.to_vec()), ("gone".to_owned(), Vec::new())]);
}

fn a_topic_keeps_its_settings(version: Version) {
    let bus = Bus::new(Broker::shared(version), "brokers.settings", 1);
    assert_eq!(bus.settings(CONTROL).get("cleanup.policy").map(String::as_str), Some("compact"));
    bus.set(CONTROL, &[("cleanup.policy", "delete")]);
    assert_eq!(bus.settings(CONTROL).get("cleanup.policy").map(String::as_str), Some("delete"));
    bus.delete("im.configs");
    assert!(bus.partition_count("im.configs").is_err());
}

fn a_stopped_broker_comes_back_with_its_records(version: Version) {
    let broker = Broker::own(version);
    let (process, bus) = (broker.id(), Bus::new(&broker, "brokers.stop", 1));
    bus.put("im.messages", Put { key: "kept", ..Put::default() });
    broker.stop();
    assert!(!std::path::Path::new(&format!("/proc/{process}")).exists(), "it still runs");
    broker.start();
    assert_eq!(bus.read("im.messages").len(), 1);
}
