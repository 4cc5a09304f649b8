//! What is checked before the first worker starts, so that it fails with a clear error.

use std::fs;
use std::sync::Arc;

use super::directory::{DataDirectory, replace};
use super::error::PipelineError;
use super::kafka::RdKafka;
use super::seam::{Fault, Kafka, Output, Role};
use super::settings::{BACKOFF_MAX, BACKOFF_MIN, CLASSES, OUTPUTS, PipelineSettings};
use super::shutdown::Shutdown;

/// The file that remembers how many workers there were.
const WORKERS: &str = "workers";
/// More workers than this were never started: the file is damaged.
const WORKERS_MAX: usize = 1024;

/// Tries until it works, with a growing wait, saying once what is wrong. `None`: told to stop.
pub(super) fn retry<T>(
    shutdown: &Shutdown,
    mut call: impl FnMut() -> Result<T, Fault>,
) -> Result<Option<T>, PipelineError> {
    let mut wait = BACKOFF_MIN;
    let mut said = None;
    while !shutdown.is_stopping() {
        match call() {
            Ok(value) => return Ok(Some(value)),
            Err(fault @ Fault::Stop(_)) => return Err(fault.into()),
            Err(fault) => {
                let why = fault.to_string();
                if said.as_ref() != Some(&why) {
                    tracing::warn!("{why}; trying again");
                    said = Some(why);
                }
                shutdown.wait(wait);
                wait = (wait * 2).min(BACKOFF_MAX);
            }
        }
    }
    Ok(None)
}

/// Reaches the cluster and checks that it will do.
pub(super) fn connect(
    settings: &Arc<PipelineSettings>,
    directory: &DataDirectory,
    shutdown: &Shutdown,
) -> Result<Option<RdKafka>, PipelineError> {
    let instance = directory.instance();
    let kafka = retry(shutdown, || RdKafka::connect(Arc::clone(settings), instance.to_owned()))?;
    let Some(kafka) = kafka else { return Ok(None) };
    let checked = retry(shutdown, || {
        kafka.check_fencing()?;
        kafka.learn_topics()?;
        check_topics(settings, &kafka)
    })?;
    if checked.is_none() || retire(directory, settings.workers, &kafka, shutdown)?.is_none() {
        return Ok(None);
    }
    Ok(Some(kafka))
}

/// Every topic is there, and outputs have a partition for each that is processed: those of the
/// input that the changelog has too. What the input has gained beyond waits (see `room`).
fn check_topics<K: Kafka>(settings: &PipelineSettings, kafka: &K) -> Result<(), Fault> {
    kafka.partitions(Role::Control)?;
    for class in CLASSES {
        let input = kafka.partitions(Role::Input(class))?;
        let needed = input.min(kafka.partitions(Role::Changelog(class))?);
        for role in OUTPUTS {
            let belongs = match role {
                Role::Output(of, _) | Role::Changelog(of) => of == class,
                Role::Input(_) | Role::Control | Role::Audit | Role::DeadLetters => false,
            };
            let there = kafka.partitions(role)?;
            if belongs && there < needed {
                return Err(Fault::Stop(format!(
                    "topic {} has {there} partitions, {} of {} are processed: `lethe topics apply` \
                     adds what is missing",
                    settings.topics.name(role),
                    needed,
                    settings.topics.input(class)
                )));
            }
        }
    }
    Ok(())
}

/// Initialises the transactional ids of workers that are no more, so that what they left open is
/// aborted and holds no reader back; then remembers how many there are.
fn retire<K: Kafka>(
    directory: &DataDirectory,
    workers: usize,
    kafka: &K,
    shutdown: &Shutdown,
) -> Result<Option<()>, PipelineError> {
    let path = directory.path().join(WORKERS);
    let before: usize = fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(workers)
        .min(WORKERS_MAX);
    for worker in workers..before {
        if retry(shutdown, || kafka.output(worker)?.init())?.is_none() {
            return Ok(None);
        }
    }
    replace(&path, &workers.to_string()).map_err(|error| PipelineError::Directory {
        path: directory.path().to_owned(),
        why: format!("cannot be written to: {error}"),
    })?;
    Ok(Some(()))
}
