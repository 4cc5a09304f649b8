//! `lethe bench`: what lethe costs, beside the least that its work can cost, on any broker.
//!
//! - [`messages`]: the load, record by record; [`load`]: writes it.
//! - [`pass_through`]: the floor: consume, produce the same bytes with two headers, in transactions.
//! - [`process`]: both over the same input, in turn, as child processes whose CPU time is measured;
//!   [`compare`]: the same over a load of its own.
//! - [`expire`]: tombstones of records that are due at once, beside [`nulls`], their floor.
//! - [`latency`]: how long a content is on its way, at a fixed rate.
//! - [`change`]: a tenant's retention is cut or a user's messages are erased, alone and beside a live load.
//! - [`replay`]: a topic is read again, alone and beside a live load.
//! - [`state`]: the ledger alone, without Kafka.
//! - [`unplugged`]: a worker without Kafka, for what counts allocations and instructions.
//! - [`growth`]: how the cost of a record grows; [`plot`] draws it.
//! - [`restart`]: how long a killed process is away, with its disk and without.

pub mod change;
pub mod compare;
pub mod expire;
pub mod growth;
pub mod latency;
pub mod load;
pub mod messages;
pub mod nulls;
pub mod pass_through;
pub mod plot;
pub mod process;
pub mod replay;
pub mod restart;
pub mod state;
pub mod unplugged;

mod beside;
mod child;
mod figures;
mod fill;
mod open_loop;
mod own_cpu;
mod page;
mod rest;
mod site;

pub use beside::Live;
pub use figures::{Comparison, Figures, Floor, Round};
