//! The pipeline in threads: a reader of the control topic, the standby, the workers, and a look at how
//! far behind they are.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use lethe_state::{Memory, Remedy, StateError, Store};

use super::clock::{HostClock, StepBack, SystemClock};
use super::completion::ReportReader;
use super::control::ControlLog;
use super::control_reader::{ControlReader, SettingsCheck, Topic};
use super::error::PipelineError;
use super::kafka::RdKafka;
use super::progress::Progress;
use super::questions::Questions;
use super::seam::{Fault, Kafka, Reading, Role};
use super::settings::{
    BACKOFF_MAX, BACKOFF_MIN, CLOCK_EVERY, IDLE_WAIT, LAG_EVERY, PipelineSettings, STEP_BACK_MS_MAX,
};
use super::shutdown::Shutdown;
use super::standby::Standby;
use super::startup::{self, Started};
use super::worker::{Next, Shared, Worker};
use crate::telemetry::health::Health;
use crate::telemetry::reports::Reports;
use crate::telemetry::tenants::Tenants;

/// What the pipeline is given by the process around it.
pub struct Surroundings {
    /// Told of what the workers do; made for as many workers as the settings say.
    pub health: Arc<Health>,
    /// Told of what is done for each tenant.
    pub tenants: Arc<Tenants>,
    /// Told of what is reported.
    pub reports: Arc<Reports>,
    /// Filled with what tenants and operators said.
    pub control: Arc<ControlLog>,
    /// Whether the control topic's settings are safe.
    pub settings_check: SettingsCheck,
    /// The wish to stop; a thread that cannot go on has it too.
    pub shutdown: Arc<Shutdown>,
    /// What the workers are asked; made for as many workers as the settings say.
    pub questions: Arc<Questions>,
}

/// Runs until it is told to stop, or until something is wrong that an operator has to mend.
///
/// # Errors
/// What an operator has to do something about; everything else is mended, or waited for.
pub fn run(settings: PipelineSettings, surroundings: Surroundings) -> Result<(), PipelineError> {
    let started = Started::begin(&settings, &surroundings.shutdown)?;
    go_on(started, settings, surroundings)
}

/// The same, after a beginning.
///
/// # Errors
/// As [`run`].
pub fn go_on(
    started: Started,
    settings: PipelineSettings,
    surroundings: Surroundings,
) -> Result<(), PipelineError> {
    let Surroundings {
        health,
        tenants,
        reports,
        control,
        settings_check: check,
        shutdown,
        questions,
    } = surroundings;
    let settings = Arc::new(settings);
    let (directory, kafka) = started.finish(&settings, &shutdown)?;
    let Some(kafka) = kafka else { return Ok(()) };
    let kafka = Arc::new(kafka);
    health.is_called(directory.instance());
    let shared = Shared {
        control,
        health,
        progress: Arc::new(Progress::new(settings.workers, &settings.topics)),
        memory: Arc::new(Memory::new(settings.cache_bytes, settings.write_buffer_bytes)),
        tenants,
        reports,
        shelf: Arc::default(),
        rejoin: Arc::default(),
        questions,
        completions: Arc::default(),
        settings,
    };
    tracing::info!(
        instance = directory.instance(),
        workers = shared.settings.workers,
        brokers = shared.settings.brokers,
        group = shared.settings.group,
        "starting"
    );
    let done = in_threads(&kafka, &shared, check, directory.instance(), &shutdown);
    if let Err(PipelineError::State(error)) = &done {
        remove_damaged(error);
    }
    done.map_err(|error| with_rights(error, &kafka))
}

/// All of it side by side, until the workers have ended.
fn in_threads(
    kafka: &Arc<RdKafka>,
    shared: &Shared,
    check: SettingsCheck,
    instance: &str,
    shutdown: &Shutdown,
) -> Result<(), PipelineError> {
    let first = FirstError::new(shutdown);
    thread::scope(|scope| {
        let first = &first;
        let control = spawn(scope, "control".to_owned(), first, move || {
            read_control(kafka, shared, check, shutdown)
        });
        let standby = spawn(scope, "standby".to_owned(), first, move || {
            stand_by(kafka, shared, instance.to_owned(), shutdown);
            Ok(())
        });
        let reports = spawn(scope, "reports".to_owned(), first, move || {
            read_reports(kafka, shared, shutdown);
            Ok(())
        });
        let lag = spawn(scope, "lag".to_owned(), first, move || {
            watch_lag(kafka, &shared.progress, shutdown);
            Ok(())
        });
        let clock = spawn(scope, "clock".to_owned(), first, move || {
            watch_clock(shutdown);
            Ok(())
        });
        let worker = |number| {
            let body = move || work(number, kafka, shared, shutdown);
            spawn(scope, format!("worker-{number}"), first, body)
        };
        let workers: Vec<_> = (0..shared.settings.workers).map(worker).collect();
        let join = |thread: Option<ScopedJoinHandle<'_, ()>>| {
            if thread.is_some_and(|thread| thread.join().is_err()) {
                first.report(PipelineError::Thread("a thread has panicked".to_owned()));
            }
        };
        workers.into_iter().for_each(join);
        // They may have left the group: then nothing is left for the others to do.
        shutdown.stop();
        [control, standby, reports, lag, clock].into_iter().for_each(join);
    });
    first.take()
}

/// Damage that showed while a partition was worked on would show again after a restart: its state is
/// removed, now that nobody has it open, and the next start restores it.
fn remove_damaged(error: &StateError) {
    let Some(dir) = error.dir().filter(|_| error.remedy() == Remedy::Rebuild) else { return };
    let dir_shown = dir.display();
    match Store::destroy(dir) {
        Ok(()) => tracing::warn!(dir = %dir_shown, "removed: the next start restores it"),
        Err(error) => {
            tracing::error!(dir = %dir_shown, %error, "it cannot be removed: remove it by hand");
        }
    }
}

/// A refusal does not always say of what: then the rights that are missing are looked for.
fn with_rights(error: PipelineError, kafka: &RdKafka) -> PipelineError {
    match error {
        PipelineError::Kafka(why) => PipelineError::Kafka(match kafka.missing_rights() {
            Some(missing) => format!("{why}; {missing}"),
            None => why,
        }),
        error @ (PipelineError::State(_)
        | PipelineError::Directory { .. }
        | PipelineError::Disagreement { .. }
        | PipelineError::Thread(_)) => error,
    }
}

fn spawn<'scope, 'env>(
    scope: &'scope thread::Scope<'scope, 'env>,
    name: String,
    first: &'scope FirstError,
    run: impl FnOnce() -> Result<(), PipelineError> + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, ()>> {
    let what = name.clone();
    let body = move || {
        // A panic must not leave the other threads running without this one.
        let _guard = StopOnPanic(first);
        if let Err(error) = run() {
            first.report(error);
        }
    };
    match thread::Builder::new().name(name).spawn_scoped(scope, body) {
        Ok(handle) => Some(handle),
        Err(error) => {
            first.report(PipelineError::Thread(format!("the thread {what} cannot start: {error}")));
            None
        }
    }
}

fn work(
    number: usize,
    kafka: &Arc<RdKafka>,
    shared: &Shared,
    shutdown: &Shutdown,
) -> Result<(), PipelineError> {
    let made = startup::retry(shutdown, || {
        Worker::new(number, Arc::clone(kafka), SystemClock::default(), shared.clone())
    })?;
    let Some(mut worker) = made else { return Ok(()) };
    while !shutdown.is_stopping() && !shutdown.is_draining() {
        shared.health.step(number);
        match worker.step()? {
            Next::Now => {}
            Next::After(time) => shutdown.wait(time),
        }
    }
    worker.stop()?;
    if shutdown.is_draining() { worker.leave() } else { Ok(()) }
}

fn stand_by(kafka: &Arc<RdKafka>, shared: &Shared, instance: String, shutdown: &Shutdown) {
    let clock = SystemClock::default();
    let mut standby = Standby::new(Arc::clone(kafka), clock, shared.clone(), instance);
    standby.yield_to_workers();
    while !shutdown.is_stopping() {
        shutdown.wait(standby.step());
    }
    standby.stop();
}

/// Ends the process where the host's clock is set back. librdkafka waits up to a moment of that clock: its
/// threads, heartbeats among them, would stand still for as long. A start costs a second, and whatever was
/// open is aborted by it; a stop would wait for the same threads.
fn watch_clock(shutdown: &Shutdown) {
    let clock = SystemClock::default();
    let mut step = StepBack::since(clock.now());
    while !shutdown.is_stopping() {
        shutdown.wait(CLOCK_EVERY);
        let back_ms = step.look(clock.now());
        if back_ms > STEP_BACK_MS_MAX {
            tracing::error!(
                seconds = back_ms / 1_000,
                "the host's clock was set back: lethe ends at once, for a start with the new time"
            );
            std::process::exit(1);
        }
    }
}

/// Tells how much of the input is not processed yet, also when a worker stands still.
fn watch_lag(kafka: &RdKafka, progress: &Progress, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        shutdown.wait(LAG_EVERY);
        let positions = progress.positions();
        match kafka.ends(positions.keys().copied()) {
            Ok(ends) => progress.behind(&positions, &ends),
            Err(fault) => tracing::debug!(%fault, "asking for the ends of the inputs"),
        }
    }
}

fn read_control(
    kafka: &Arc<RdKafka>,
    shared: &Shared,
    check: SettingsCheck,
    shutdown: &Shutdown,
) -> Result<(), PipelineError> {
    let Some(log) = startup::retry(shutdown, || kafka.log(Reading::Following))? else {
        return Ok(());
    };
    let clock = SystemClock::default();
    let (control, health) = (Arc::clone(&shared.control), Arc::clone(&shared.health));
    let topic =
        Topic { name: shared.settings.topics.control.clone(), id: kafka.topic_id(Role::Control) };
    let mut reader = ControlReader::new(log, topic, control, health, check);
    let mut wait = BACKOFF_MIN;
    let mut said = None;
    while !shutdown.is_stopping() {
        match reader.step(clock.now()) {
            Ok(()) => {
                wait = BACKOFF_MIN;
                said = None;
            }
            Err(fault @ Fault::Stop(_)) => return Err(fault.into()),
            Err(fault) => {
                let why = fault.to_string();
                if said.as_ref() != Some(&why) {
                    tracing::warn!("reading what tenants and operators say: {why}; trying again");
                    said = Some(why);
                }
                shutdown.wait(wait);
                wait = (wait * 2).min(BACKOFF_MAX);
            }
        }
    }
    Ok(())
}

/// Reads what partitions report of erasures. Where that cannot be done the erasures are carried out all the same,
/// and only their completion is not reported: it is said, and tried again.
fn read_reports(kafka: &Arc<RdKafka>, shared: &Shared, shutdown: &Shutdown) {
    let mut reader = None;
    let mut wait = BACKOFF_MIN;
    while !shutdown.is_stopping() {
        let read = match &mut reader {
            Some(reader) => ReportReader::step(reader),
            None => kafka.log(Reading::Following).map(|log| {
                reader = Some(ReportReader::new(log, Arc::clone(&shared.completions)));
                true
            }),
        };
        match read {
            Ok(true) => wait = BACKOFF_MIN,
            Ok(false) => shutdown.wait(IDLE_WAIT),
            Err(fault) => {
                if wait == BACKOFF_MIN {
                    tracing::warn!("reading which erasures are done: {fault}; trying again");
                }
                shutdown.wait(wait);
                wait = (wait * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// The first error of any thread; it stops the others.
struct FirstError<'a> {
    shutdown: &'a Shutdown,
    error: Mutex<Option<PipelineError>>,
}

impl<'a> FirstError<'a> {
    fn new(shutdown: &'a Shutdown) -> Self {
        Self { shutdown, error: Mutex::new(None) }
    }

    fn report(&self, error: PipelineError) {
        tracing::error!("{error}");
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.shutdown.stop();
    }

    fn take(self) -> Result<(), PipelineError> {
        self.error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

struct StopOnPanic<'a>(&'a FirstError<'a>);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.shutdown.stop();
        }
    }
}
