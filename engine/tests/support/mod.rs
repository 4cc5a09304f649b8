//! What the engine's tests share: a ledger in memory, histories as text, a naive model of the contract,
//! and a harness that drives the engine and the model side by side.
//!
//! Invariant: nothing here looks into the engine. It is driven and judged through its public API alone.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]
#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part")]

pub mod again;
pub mod downstream;
pub mod harness;
pub mod history;
pub mod ledger;
pub mod model;
pub mod random;
pub mod table;
pub mod text;
