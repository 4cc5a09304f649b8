//! SIGTERM and SIGINT ask for a clean stop.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::Failure;
use crate::pipeline::Shutdown;
use crate::telemetry::health::Health;

/// Whether the process has been asked to stop.
#[derive(Clone)]
pub(super) struct Stop {
    /// For the workers, which look at it between batches.
    pub(super) workers: Arc<Shutdown>,
    asked: watch::Receiver<bool>,
}

impl Stop {
    /// Listens for the signals, on the runtime that it is called on.
    ///
    /// A second signal does not hurry: the transactions at hand end by their own time-outs.
    pub(super) fn on_signals(
        health: &Arc<Health>,
        workers: &Arc<Shutdown>,
    ) -> Result<Self, Failure> {
        let listen = |kind| {
            let failed = |error| Failure::Failed(format!("signals cannot be received: {error}"));
            signal(kind).map_err(failed)
        };
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let (ask, asked) = watch::channel(false);
        let (health, stop) = (Arc::clone(health), Arc::clone(workers));
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "stopping: the transactions at hand are finished first");
            health.stopping();
            stop.stop();
            ask.send_replace(true);
            // The sender must live: without it every receiver would believe to be asked.
            std::future::pending::<()>().await;
        });
        Ok(Self { workers: Arc::clone(workers), asked })
    }

    /// Waits until the process is asked to stop.
    pub(super) async fn asked(&self) {
        drop(self.asked.clone().wait_for(|asked| *asked).await);
    }
}
