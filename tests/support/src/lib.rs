//! Real brokers, clients and a handle on the built program: what lethe's end-to-end tests stand on.
//!
//! Everything here looks at lethe from the outside: its command line, its topics, its HTTP pages and its
//! files. Nothing outlives the test process: children die with it, and a janitor removes its directory.
//!
//! | module | what it gives |
//! |---|---|
//! | [`broker`] | Apache Kafka of either version, shared by a test process or for one test alone, or a cluster |
//! | [`bus`] | the topics of one test and clients on them: events and control records in, outputs back |
//! | [`certificates`] | a broker's and a client's certificates |
//! | [`event`] | the events of `lethe.v1` with content behind field 16, as producers write them |
//! | [`http`] | requests to its pages |
//! | [`lethe`] | the built program as a process: configuration, signals, pages, logs |
//! | [`proxy`] | stands before a broker, loses some requests and keeps others back |
//! | [`rights`] | a broker that asks its clients to log in, and rights to take away |
//! | [`search`] | looks for planted content in everything that lethe keeps and says |
//! | [`wait`] | polling with a generous bound; there are no sleeps as synchronisation |
//! | [`warrant`] | what a record's events warrant, by the contract |
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test's support fails its test with a message"
)]

pub mod broker;
pub mod bus;
pub mod certificates;
pub mod event;
pub mod http;
mod jars;
pub mod kcat;
pub mod lethe;
pub mod process;
pub mod proxy;
pub mod record;
pub mod rights;
pub mod search;
pub mod wait;
pub mod warrant;
