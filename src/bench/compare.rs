//! A load, and then pass-through and lethe in turn over it: see [`super::process`].

use super::figures::Comparison;
use super::load::{Load, load};
use super::messages::Shape;
use super::process::{self, Process};
use super::site::Site;

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Compare {
    /// How it is measured; the input is its own.
    pub process: Process,
    /// The load.
    pub shape: Shape,
    /// Partitions of the input.
    pub partitions: u32,
}

/// Loads, then measures round by round; `told` hears of each step.
///
/// # Errors
/// The broker refuses something, or a child has not done its work.
pub fn compare(of: &Compare, told: &mut dyn FnMut(&str)) -> anyhow::Result<Comparison> {
    let site = Site::new(&of.process.settings, of.partitions);
    site.make_topics(0)?;
    let settings = site.settings(0);
    let written = load(&Load {
        brokers: settings.brokers.clone(),
        topic: settings.topics.messages.clone(),
        control: Some(settings.topics.control.clone()),
        shape: of.shape.clone(),
        rate: None,
    })?;
    told(&format!("loaded {} records in {:.1} s", written.records, written.seconds));
    process::over(&of.process, &site, told)
}
