//! lethe from the outside, on real brokers: the contract's rules in its users' words.
//!
//! Every case runs on Apache Kafka 4.1.1 and on 2.8.1, which all of them share. Cases of one file share a running
//! lethe where their subject allows it (tenants do not see each other), and have their own where they stop it.
#![expect(clippy::panic, clippy::print_stdout, reason = "tests, which print what they found")]

mod adoption;
mod audit;
mod bad_input;
mod benchmarks;
mod brokers;
mod changelogs;
mod configs;
mod control_trust;
mod disk;
mod edits;
mod exactly_once;
mod holds;
mod https;
mod load;
mod messages;
mod operators;
mod outcomes;
mod pages;
mod poison;
mod policies;
mod privacy;
mod profiles;
mod program;
mod questions;
mod rebuilds;
mod replay_verbs;
mod replays;
mod restarts;
mod rights;
mod safety;
mod security;
mod sharing;
mod standbys;
mod topics;
mod world;
mod zombies;

/// Makes a case of a function over a broker's version, once for each version.
macro_rules! on_both_brokers {
    ($($(#[$about:meta])* $name:ident;)+) => {
        $($(#[$about])* mod $name {
            #[test]
            fn kafka_4_1() {
                super::$name($crate::Version::V4);
            }
            #[test]
            fn kafka_2_8() {
                super::$name($crate::Version::V2);
            }
        })+
    };
}
use on_both_brokers;

pub(crate) use lethe_test_support::broker::Version;
