//! lethe in the demo's own process: the pipeline and the HTTP server, as `lethe run` has them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::LOOK;
use crate::config::Settings;
use crate::http::{Server, Shown};
use crate::pipeline::{self, Questions, Shutdown, Surroundings};
use crate::telemetry::health::{Health, Readiness};
use crate::telemetry::tenants::Tenants;
use crate::telemetry::{metrics, names};

/// How long lethe may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Workers: as many as make partitions shared, on any machine.
const WORKERS: &str = "2";

/// A running lethe.
pub(super) struct Lethe {
    health: Arc<Health>,
    metrics: PrometheusHandle,
    tenants: Arc<Tenants>,
    shutdown: Arc<Shutdown>,
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
        let health = Arc::new(Health::new(settings.pipeline.workers));
        let metrics = metrics::install().context("metrics cannot be set up")?;

        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let tenants = Arc::new(Tenants::new(settings.pipeline.tenants_shown));
        let shutdown = Arc::new(Shutdown::default());
        let shown = Shown {
            health: Arc::clone(&health),
            metrics: metrics.clone(),
            tenants: Arc::clone(&tenants),
            shutdown: Arc::clone(&shutdown),
        };
        let server = runtime.block_on(Server::bind(&settings.http, shown))?;
        let http = server.address()?.to_string();
        let (serving, ended) = oneshot::channel::<()>();
        runtime.spawn(server.serve(async { drop(ended.await) }));

        let surroundings = Surroundings {
            health: Arc::clone(&health),
            tenants: Arc::clone(&tenants),
            // The embedded broker never removes a control record, and has no settings to ask for.
            settings_check: Box::new(|| Some(Ok(()))),
            shutdown: Arc::clone(&shutdown),
            questions: Arc::new(Questions::new(settings.pipeline.workers)),
        };
        let pipeline = thread::Builder::new()
            .name("lethe".to_owned())
            .spawn(move || Ok(pipeline::run(settings.pipeline, surroundings)?))?;
        Ok(Self { health, metrics, tenants, shutdown, pipeline, runtime, http, _serving: serving })
    }

    /// Where its pages are.
    pub(super) fn http(&self) -> &str {
        &self.http
    }

    /// Waits until it is ready.
    pub(super) fn wait_until_ready(&self, stop: &AtomicBool) -> anyhow::Result<()> {
        let started = Instant::now();
        while let Readiness::NotReady(why) = self.health.readiness() {
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
            let why = self.health.snapshot().fatal;
            bail!("lethe has stopped: {}", why.as_deref().unwrap_or("nobody asked it to"));
        }
        Ok(())
    }

    /// How many input records it has counted so far.
    pub(super) fn counted(&self) -> u64 {
        let page = metrics::render(&self.metrics, &self.health, &self.tenants);
        let values = page.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split_once('{')?.0;
            (name == names::RECORDS).then(|| value.parse::<u64>().ok())?
        });
        values.sum()
    }

    /// Stops it cleanly; what its metrics said last.
    pub(super) fn stop(self) -> anyhow::Result<String> {
        self.health.stopping();
        self.shutdown.stop();
        self.pipeline.join().map_err(|_| anyhow!("lethe has panicked"))??;
        let page = metrics::render(&self.metrics, &self.health, &self.tenants);
        self.runtime.shutdown_background();
        Ok(page)
    }
}
