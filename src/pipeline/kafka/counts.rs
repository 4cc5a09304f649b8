//! How many partitions the topics of the cluster have, as of a moment ago.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use super::super::seam::Fault;
use super::super::settings::{CALL_TIMEOUT, TOPICS_FRESH};
use super::context::Quiet;
use super::errors::{self, Absence};

/// What is known of them.
pub(super) struct Counts {
    client: Arc<BaseConsumer<Quiet>>,
    /// Those that can be used, and when that was asked.
    known: Mutex<Option<(Instant, BTreeMap<String, i32>)>>,
    /// Topics that this process has found once.
    found: Mutex<BTreeSet<String>>,
}

impl Counts {
    /// Asks once.
    pub(super) fn ask(client: Arc<BaseConsumer<Quiet>>) -> Result<Self, Fault> {
        let counts = counts(&client)
            .map_err(|error| errors::call("asking for the cluster's metadata", &error))?;
        let known = Mutex::new(Some((Instant::now(), counts)));
        Ok(Self { client, known, found: Mutex::default() })
    }

    /// Forgets what is known: some topics were made meanwhile.
    pub(super) fn look_again(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How many partitions a topic has.
    pub(super) fn of(&self, name: &str) -> Result<i32, Fault> {
        let count = self.count(name)?;
        let found = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = count else {
            let found_before = found().contains(name);
            return Err(errors::missing_topic(name, self.absence(name)?, found_before));
        };
        found().insert(name.to_owned());
        Ok(count)
    }

    /// How many partitions a topic has; none: it does not exist.
    pub(super) fn find(&self, name: &str) -> Result<Option<i32>, Fault> {
        Ok(match self.count(name)? {
            None if self.absence(name)? == Absence::Unknown => None,
            None => Some(self.of(name)?),
            count @ Some(_) => count,
        })
    }

    /// As of less than [`TOPICS_FRESH`] ago; none: it does not exist, or cannot be used.
    fn count(&self, name: &str) -> Result<Option<i32>, Fault> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, counts)) = &*known
            && at.elapsed() < TOPICS_FRESH
        {
            return Ok(counts.get(name).copied());
        }
        let counts = counts(&self.client).map_err(|error| asking(name, &error))?;
        let count = counts.get(name).copied();
        *known = Some((Instant::now(), counts));
        Ok(count)
    }

    /// Why a topic is not there. A broker that has just started may not know yet what it had.
    fn absence(&self, name: &str) -> Result<Absence, Fault> {
        self.look_again();
        let metadata = self.client.fetch_metadata(Some(name), CALL_TIMEOUT);
        let metadata = metadata.map_err(|error| asking(name, &error))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        Ok(match topic.map(|topic| topic.error()) {
            None => Absence::Unknown,
            Some(None) => Absence::Over,
            Some(Some(error)) => Absence::of(error.into()),
        })
    }
}

fn asking(name: &str, error: &KafkaError) -> Fault {
    errors::call(&format!("asking for the partitions of {name}"), error)
}

/// How many partitions each topic has that can be used.
fn counts(client: &BaseConsumer<Quiet>) -> Result<BTreeMap<String, i32>, KafkaError> {
    let metadata = client.fetch_metadata(None, CALL_TIMEOUT)?;
    let usable = metadata.topics().iter().filter(|topic| topic.error().is_none());
    let counted = usable.map(|topic| {
        let count = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
        (topic.name().to_owned(), count)
    });
    Ok(counted.filter(|(_, count)| *count > 0).collect())
}
