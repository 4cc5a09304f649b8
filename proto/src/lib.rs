//! The events on the bus as prost types: what producers, benchmarks and tests write.
//!
//! lethe itself reads events in place (see the codec of the main crate) and is tested against these.

/// Package `lethe.v1`.
#[expect(missing_docs, reason = "generated; the .proto files carry the documentation")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/lethe.v1.rs"));
}
