//! lethe in the demo's own process: the pipeline and the HTTP server, as `lethe run` has them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::LOOK;
use crate::config::Settings;
use crate::http::{Server, Shown};
use crate::pipeline::{self, Questions};
use crate::telemetry::figures::Figures;
use crate::telemetry::health::Readiness;
use crate::telemetry::{metrics, names};

/// How long lethe may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Workers: as many as make partitions shared, on any machine.
const WORKERS: &str = "2";

/// A running lethe.
pub(super) struct Lethe {
    shown: Shown,
    pipeline: JoinHandle<anyhow::Result<()>>,
    /// Serves HTTP until this is dropped.
    runtime: Runtime,
    http: String,
    /// Dropped, it ends the server.
    _serving: oneshot::Sender<()>,
}

impl Lethe {
    /// Starts it on the embedded broker.
    pub(super) fn start(brokers: &str, data_dir: &Path, http: &str) -> anyhow::Result<Self> {
        let set = [
            ("brokers", brokers.to_owned()),
            ("data_dir", data_dir.display().to_string()),
            ("http", http.to_owned()),
            ("instance", "demo".to_owned()),
            ("workers", WORKERS.to_owned()),
        ];
        // Neither the environment nor a file: the demo is the same everywhere.
        let mut settings = Settings::load(None, [], set)?;
        settings.pipeline.embedded_broker = true;
        let metrics = metrics::install().context("metrics cannot be set up")?;

        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let shown = Shown::new(settings.pipeline.workers, settings.pipeline.tenants_shown, metrics);
        let server = runtime.block_on(Server::bind(&settings.http, shown.clone()))?;
        let http = server.address()?.to_string();
        let (serving, ended) = oneshot::channel::<()>();
        runtime.spawn(server.serve(async { drop(ended.await) }));

        // The embedded broker never removes a control record, and has no settings to ask for.
        let check = Box::new(|| Some(Ok(())));
        let questions = Arc::new(Questions::new(settings.pipeline.workers));
        let surroundings = shown.surroundings(check, questions);
        let pipeline = thread::Builder::new()
            .name("lethe".to_owned())
            .spawn(move || Ok(pipeline::run(settings.pipeline, surroundings)?))?;
        Ok(Self { shown, pipeline, runtime, http, _serving: serving })
    }

    /// Where its pages are.
    pub(super) fn http(&self) -> &str {
        &self.http
    }

    /// Waits until it is ready.
    pub(super) fn wait_until_ready(&self, stop: &AtomicBool) -> anyhow::Result<()> {
        let started = Instant::now();
        while let Readiness::NotReady(why) = self.shown.health.readiness() {
            self.check()?;
            if started.elapsed() > READY_WITHIN || stop.load(Ordering::Relaxed) {
                bail!("lethe was not ready: {why}");
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// An error if it no longer runs.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.pipeline.is_finished() {
            let why = self.shown.health.snapshot().fatal;
            bail!("lethe has stopped: {}", why.as_deref().unwrap_or("nobody asked it to"));
        }
        Ok(())
    }

    /// How many input records it has counted so far.
    pub(super) fn counted(&self) -> u64 {
        let counted = Figures::read(&self.shown.metrics()).sum(names::RECORDS, &[]);
        counted.map_or(0, |records| records as u64)
    }

    /// Stops it cleanly; what its metrics said last.
    pub(super) fn stop(self) -> anyhow::Result<String> {
        self.shown.health.stopping();
        self.shown.shutdown.stop();
        self.pipeline.join().map_err(|_| anyhow!("lethe has panicked"))??;
        let page = self.shown.metrics();
        self.runtime.shutdown_background();
        Ok(page)
    }
}
