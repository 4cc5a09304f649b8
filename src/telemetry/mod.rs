//! What lethe says of itself: health, metrics, logs. Never content.

pub mod health;
pub mod logs;
pub mod metrics;
pub mod names;
mod process;
pub mod tenants;
pub mod terminal;
