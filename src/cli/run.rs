//! `lethe run`: everything in one process, until it is asked to stop.
//!
//! The order: settings, logs, metrics, HTTP (so that a load balancer sees "not ready" from the
//! start), signals, topics, workers. Stopping goes backwards; HTTP answers until the workers are done.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::settings::Place;
use super::stop::Stop;
use super::topics;
use crate::audit::Pseudonyms;
use crate::config::Settings;
use crate::error::Failure;
use crate::http::tls::Trust;
use crate::http::{Options, Server, Shown};
use crate::pipeline::{self, Questions};
use crate::telemetry::health::Drain;
use crate::telemetry::{logs, metrics, terminal};
use crate::topics::admin::{Admin, TopicsError};
use crate::topics::{Change, Current, Plan, control};

/// The first wait for a broker that is away; it doubles.
const AWAY_PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest wait between two tries.
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// A broker that comes back may answer before it knows its topics: so long they may be missing.
const TOPICS_SETTLE: Duration = Duration::from_secs(15);

/// Process messages, profiles and config items until SIGTERM
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lethe run --brokers kafka-1:9092 --data-dir /var/lib/lethe\n  \
                        lethe run --config /etc/lethe.toml\n\nEvery key of the configuration can \
                        also be set by environment: LETHE_DATA_DIR, LETHE_TOPICS_MESSAGES, \
                        LETHE_KAFKA_SECURITY_PROTOCOL … (docs/configuration.md). LETHE_LOG filters \
                        the logs."
)]
pub(super) struct Run {
    #[command(flatten)]
    place: Place,

    /// Consumer group; its processes share the partitions [env: LETHE_GROUP] [default: lethe]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// Where local state is kept [env: LETHE_DATA_DIR] [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// Where HTTP listens [env: LETHE_HTTP] [default: 127.0.0.1:9644]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,

    /// Threads that process partitions [env: LETHE_WORKERS] [default: one a core]
    #[arg(long, value_name = "N")]
    workers: Option<String>,

    /// This process's name in the group [env: LETHE_INSTANCE] [default: the host's, remembered]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,

    /// Memory for local state [env: LETHE_MEMORY] [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,

    /// How long a transaction collects [env: LETHE_COMMIT_INTERVAL] [default: 100ms]
    #[arg(long, value_name = "DURATION")]
    commit_interval: Option<String>,

    /// Where a new group begins: earliest or latest [env: LETHE_START] [default: earliest]
    #[arg(long, value_name = "PLACE")]
    start: Option<String>,

    /// State that this is the group's only process (brokers before 2.5) [env: LETHE_SINGLE_PROCESS]
    #[arg(long)]
    single_process: bool,

    /// Do not create missing topics [env: LETHE_CREATE_TOPICS=false]
    #[arg(long)]
    no_create_topics: bool,
}

impl Run {
    fn settings(&self) -> Result<Settings, Failure> {
        let switch = |given: bool, value: &str| given.then(|| value.to_owned());
        Ok(self.place.load([
            ("group", self.group.clone()),
            ("data_dir", self.data_dir.clone()),
            ("http", self.http.clone()),
            ("workers", self.workers.clone()),
            ("instance", self.instance.clone()),
            ("memory", self.memory.clone()),
            ("commit_interval", self.commit_interval.clone()),
            ("start", self.start.clone()),
            ("single_process", switch(self.single_process, "true")),
            ("create_topics", switch(self.no_create_topics, "false")),
        ])?)
    }
}

pub(super) fn run(verb: &Run) -> Result<(), Failure> {
    let settings = verb.settings()?;
    logs::install(std::env::var(logs::LOG_VARIABLE).ok().as_deref())?;
    let metrics = metrics::install()
        .map_err(|error| Failure::Failed(format!("metrics cannot be set up: {error}")))?;
    let shown = Shown::new(settings.pipeline.workers, settings.pipeline.tenants_shown, metrics);
    let questions = Arc::new(Questions::new(settings.pipeline.workers));
    let runtime = super::runtime()?;
    let done = runtime.block_on(async {
        let server = Server::bind(&settings.http, shown.clone()).await?;
        let server = server.with_tls(settings.http_tls.clone())?;
        let options = Options {
            tokens: settings.http_tokens.clone(),
            pseudonyms: Pseudonyms::read(settings.audit_key.as_deref()).map_err(Failure::Usage)?,
            peers: settings.peers.clone(),
            peers_trust: settings.peers_ca.clone().map(Trust::Authority),
            safety: settings.safety,
        };
        let server = server.with_api(settings.pipeline.clone(), options, Arc::clone(&questions));
        let server = server.map_err(|error| Failure::Failed(format!("HTTP: {error}")))?;
        let address = server.address().map_or(settings.http.clone(), |at| at.to_string());
        tracing::info!(version = env!("CARGO_PKG_VERSION"), http = address, "lethe starts");
        let stop = Stop::on_signals(&shown.health, &shown.shutdown)?;
        if std::io::stderr().is_terminal() {
            tokio::spawn(terminal::show_restores(Arc::clone(&shown.health)));
        }
        let (end, ended) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async { drop::<Result<(), _>>(ended.await) }));
        let done = work(settings, &shown, &stop, questions).await;
        if let Err(failure) = &done {
            shown.health.fatal(failure);
        }
        drop(end);
        drop(serving.await);
        done
    });
    // A request to a broker that is away may still be under way: nobody waits for it.
    runtime.shutdown_background();
    if done.is_ok() {
        tracing::info!("lethe has stopped");
    }
    done
}

/// Prepares the topics, while what needs none begins, then lets the workers work until they are done.
async fn work(
    mut settings: Settings,
    shown: &Shown,
    stop: &Stop,
    questions: Arc<Questions>,
) -> Result<(), Failure> {
    let started = pipeline::Started::begin(&settings.pipeline, &stop.workers)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let admin = Arc::new(topics::admin(&settings)?);
    let prepared = tokio::task::spawn_blocking({
        let (settings, admin, runtime) = (settings.clone(), Arc::clone(&admin), Handle::current());
        move || runtime.block_on(prepare(&settings, &admin))
    });
    let current = tokio::select! {
        prepared = prepared => prepared.map_err(|error| Failure::Failed(error.to_string()))??,
        () = stop.asked() => return Ok(()),
    };
    settings.pipeline.record_bytes_max = record_bytes_max(&current);
    let control = settings.pipeline.topics.control.clone();
    let check = control::checker(admin, control, Handle::current());
    let surroundings = shown.surroundings(Box::new(check), questions);
    let worked = tokio::task::spawn_blocking(move || {
        pipeline::go_on(started, settings.pipeline, surroundings)
    });
    let worked = worked.await.map_err(|error| Failure::Failed(error.to_string()))?;
    worked.map_err(|error| Failure::Failed(error.to_string()))?;
    if stop.workers.is_draining() {
        // Whoever supervises the process would start it anew if it ended, and it would join again.
        shown.health.drain(Drain::Drained);
        tracing::info!("drained: the group is left; waiting for SIGTERM");
        stop.asked().await;
    }
    Ok(())
}

/// Waits for the brokers, and sees to it that every topic is there.
pub(super) async fn prepare(settings: &Settings, admin: &Admin) -> Result<Current, Failure> {
    let names = topics::names(settings);
    let (mut current, was_away) = wait_for_brokers(admin, &names).await?;
    let mut plan = topics::plan(settings, &current, Default::default());
    let settled_at = Instant::now() + TOPICS_SETTLE;
    while was_away && !plan.problems.is_empty() && Instant::now() < settled_at {
        sleep(AWAY_PAUSE_MIN).await;
        (current, _) = wait_for_brokers(admin, &names).await?;
        plan = topics::plan(settings, &current, Default::default());
    }
    let missing = plan.creations();
    tell(&plan);
    if !plan.problems.is_empty() {
        return Err(Failure::Failed(plan.problems.join("\n")));
    }
    if missing.is_empty() {
        return Ok(current);
    }
    if !settings.create_topics {
        let missing: String = missing.iter().map(ToString::to_string).collect();
        return Err(Failure::Failed(format!(
            "topics are missing: `lethe topics apply` creates them\n{missing}"
        )));
    }
    for change in &missing {
        if let Change::Create { topic, partitions, .. } = change {
            tracing::info!(topic, partitions, "creating a missing topic");
        }
    }
    admin.apply(&missing).await?;
    Ok(admin.describe(&names).await?)
}

/// The topics as they are, and whether the brokers had been away.
async fn wait_for_brokers(admin: &Admin, names: &[String]) -> Result<(Current, bool), TopicsError> {
    let mut pause = AWAY_PAUSE_MIN;
    let mut said = false;
    loop {
        match admin.describe(names).await {
            Err(error @ TopicsError::Away { .. }) => {
                if !said {
                    tracing::warn!(%error, "waiting for the brokers");
                    said = true;
                }
                sleep(pause).await;
                pause = (pause * 2).min(AWAY_PAUSE_MAX);
            }
            answer => {
                if said {
                    tracing::info!("the brokers answer");
                }
                return answer.map(|current| (current, said));
            }
        }
    }
}

/// Says what is not as it should be, and what `run` leaves to the operator.
fn tell(plan: &Plan) {
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    for change in &plan.changes {
        match change {
            Change::Create { .. } => {}
            Change::AddPartitions { topic, from, to } => tracing::error!(
                topic,
                from,
                to,
                "too few partitions: those of the input beyond them wait; `lethe topics apply` adds them"
            ),
            Change::Set { topic, settings } => {
                for change in settings {
                    tracing::warn!(
                        topic,
                        setting = change.setting,
                        is = change.from,
                        must_be = change.to,
                        "a setting that the guarantees lean on; `lethe topics apply` corrects it"
                    );
                }
            }
        }
    }
}

/// The largest record of each topic, where the broker tells.
fn record_bytes_max(current: &Current) -> std::collections::BTreeMap<String, usize> {
    let limit = |(name, topic): (&String, &crate::topics::Topic)| {
        let bytes = usize::try_from(topic.number("max.message.bytes")?).ok()?;
        Some((name.clone(), bytes))
    };
    current.iter().filter_map(limit).collect()
}
