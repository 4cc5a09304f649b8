//! What lethe says of itself: health, metrics, logs. Never content.

pub mod health;
pub mod logs;
pub mod metrics;
pub mod names;
pub mod terminal;
