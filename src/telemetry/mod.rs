//! What lethe says of itself: health, metrics, logs. Never content.

pub mod figures;
pub mod health;
pub mod history;
pub mod logs;
pub mod metrics;
pub mod names;
pub(crate) mod process;
pub mod reports;
pub mod tenants;
pub mod terminal;
