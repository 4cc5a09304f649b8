//! `lethe bench`: what lethe costs, beside the least that its work can cost, on any broker.
//!
//! - [`load`]: writes the input.
//! - [`pass_through`]: the floor: consume, produce the same bytes with two headers, in transactions.
//! - [`compare`]: both over the same input, in turn, as child processes whose CPU time is measured.
//! - [`restart`]: how long a killed process is away, with its disk and without.

pub mod compare;
pub mod load;
pub mod pass_through;
pub mod restart;

mod child;
mod figures;
mod fill;
mod page;
mod site;

pub use figures::{Comparison, Figures, Round};
