//! The workers' first producers, initialised from the start on, all at once and beside everything else
//! that a start has to do: what a killed process left open holds readers back until it is aborted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::super::settings::PipelineSettings;
use super::RdOutput;
use super::context::Reach;

/// Producers by worker, each on a thread that ends once it is initialised.
#[derive(Default)]
pub(super) struct Early(BTreeMap<usize, Initialising>);

/// A producer under way; none: it could not be made, and the worker will hear why.
pub(super) type Initialising = JoinHandle<Option<RdOutput>>;

impl Early {
    /// Begins with one for each worker. What fails here is tried again, and told, when the worker asks.
    pub(super) fn begin(
        settings: &Arc<PipelineSettings>,
        instance: &str,
        reach: &Arc<Reach>,
    ) -> Self {
        let begin = |worker: usize| {
            let (settings, reach) = (Arc::clone(settings), Arc::clone(reach));
            let instance = instance.to_owned();
            let make = move || {
                let mut output = RdOutput::create(&settings, &instance, worker, reach).ok()?;
                if let Err(fault) = output.initialise() {
                    tracing::debug!(worker, %fault, "a producer is not initialised yet");
                }
                Some(output)
            };
            let thread = thread::Builder::new().name(format!("output-{worker}")).spawn(make);
            thread.ok().map(|thread| (worker, thread))
        };
        Self((0..settings.workers).filter_map(begin).collect())
    }

    /// A worker's.
    pub(super) fn take(&mut self, worker: usize) -> Option<Initialising> {
        self.0.remove(&worker)
    }

    /// Waits for it.
    pub(super) fn finish(begun: Initialising) -> Option<RdOutput> {
        begun.join().ok().flatten()
    }
}
