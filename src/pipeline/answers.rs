//! How a worker answers what it is asked: a slice a step, partition by partition.

use std::collections::VecDeque;
use std::sync::Arc;

use lethe_engine::lifecycle::{Explanation, Forecast, Search};
use lethe_engine::{Budget, Class};
use lethe_state::StateError;

use super::clock::{HostClock, Now};
use super::partition::{Live, Stage};
use super::questions::{Answer, Answers, Asked, Question};
use super::seam::{Kafka, PartitionId};
use super::worker::Worker;

/// Rows that a step reads for a question: some 5 ms.
const STEP_ROWS: usize = 4_096;

/// A question that is being answered.
pub(super) struct Answering {
    asked: Asked,
    /// The partitions that are still to be asked.
    partitions: VecDeque<PartitionId>,
    /// How far the first of them is.
    part: Part,
    answers: Answers,
}

/// How far one partition is.
#[derive(Default)]
struct Part {
    search: Search,
    /// The tenants that are still to be counted; none: not known yet.
    tenants: Option<VecDeque<String>>,
    forecast: Forecast,
    forecasts: Vec<(String, Forecast)>,
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Whether there is something to answer.
    pub(super) fn is_asked(&self) -> bool {
        self.answering.is_some() || self.questions.is_asked(self.number)
    }

    /// Answers some more of what is asked.
    pub(super) fn answer_step(&mut self, now: Now) -> Result<(), StateError> {
        let Some(mut answering) = self.answering.take().or_else(|| self.begin_answer()) else {
            return Ok(());
        };
        // Whoever asked does not wait any more.
        if answering.asked.reply.is_closed() {
            return Ok(());
        }
        let Some(&id) = answering.partitions.front() else {
            // A closed channel is nobody's loss.
            let _ = answering.asked.reply.send(answering.answers);
            return Ok(());
        };
        let committed = match &*answering.asked.question {
            Question::Erasure { .. } | Question::Replays { .. } => true,
            Question::Explain { .. } | Question::Forecast { .. } => false,
        };
        let ending_ms = self.desk.time.ending_ms(now);
        match (self.desk.partitions.get_mut(&id), ending_ms) {
            (Some(Stage::Live(live)), Some(now_ms)) => {
                if committed && live.in_batch() {
                    self.answering = Some(answering);
                    return Ok(());
                }
                let question = Arc::clone(&answering.asked.question);
                if let Some(answer) = answer(live, &question, &mut answering.part, now_ms)? {
                    answering.answers.push((id, answer));
                    answering.partitions.pop_front();
                    answering.part = Part::default();
                }
            }
            // It has gone, or is not there yet: who asked sees that it is missing.
            (_, _) => drop(answering.partitions.pop_front()),
        }
        self.answering = Some(answering);
        Ok(())
    }

    fn begin_answer(&mut self) -> Option<Answering> {
        let asked = self.questions.take(self.number)?;
        let of_class = |id: &PartitionId| match &*asked.question {
            Question::Explain { class, .. } => id.class == *class,
            Question::Forecast { .. } | Question::Erasure { .. } | Question::Replays { .. } => true,
        };
        let partitions = self.desk.live().map(|(id, _)| id).filter(of_class).collect();
        Some(Answering { asked, partitions, part: Part::default(), answers: Vec::new() })
    }
}

/// A slice of one partition's answer; none: there is more to read.
fn answer(
    live: &mut Live,
    question: &Question,
    part: &mut Part,
    now_ms: i64,
) -> Result<Option<Answer>, StateError> {
    match question {
        Question::Explain { class, tenant, id, time_ms } => {
            explain(live, part, (*class, tenant, id, *time_ms), now_ms)
        }
        Question::Forecast { tenants, proposals, days } => {
            let mut queue = match part.tenants.take() {
                Some(queue) => queue,
                None => tenants_of(live, tenants.as_deref())?,
            };
            if let Some(tenant) = queue.front() {
                let mut budget = Budget { rows: STEP_ROWS };
                let so_far = std::mem::take(&mut part.forecast);
                let (engine, store) = (&mut live.engine, &mut live.store);
                let counted = engine.forecast(
                    store,
                    tenant,
                    proposals,
                    now_ms,
                    *days,
                    &mut budget,
                    so_far,
                )?;
                // Whoever asks has checked the records: the engine refuses none of them.
                let forecast = counted.unwrap_or_default();
                if forecast.position.is_some() {
                    part.forecast = forecast;
                } else if let Some(tenant) = queue.pop_front() {
                    part.forecasts.push((tenant, forecast));
                }
            }
            let done = queue.is_empty();
            part.tenants = Some(queue);
            Ok(done.then(|| Answer::Forecast(std::mem::take(&mut part.forecasts))))
        }
        Question::Erasure { control_key } => {
            let mut last = None;
            live.engine.erasures(&mut live.store, &mut |offset, row| {
                if row.control_key == *control_key {
                    last = Some((offset, row.clone()));
                }
            })?;
            Ok(Some(Answer::Erasure(last)))
        }
        Question::Replays { control_key } => {
            let mut found = Vec::new();
            live.engine.replays(&mut live.store, &mut |offset, row| {
                if control_key.as_ref().is_none_or(|key| row.control_key == *key) {
                    found.push((offset, row.clone()));
                }
            })?;
            Ok(Some(Answer::Replays(found)))
        }
    }
}

fn tenants_of(live: &mut Live, tenants: Option<&[String]>) -> Result<VecDeque<String>, StateError> {
    if let Some(tenants) = tenants {
        return Ok(tenants.iter().cloned().collect());
    }
    let mut known: Vec<String> = Vec::new();
    live.engine.census(&mut live.store, &mut |tenant, _, _| {
        if known.last().is_none_or(|last| last != tenant) {
            known.push(tenant.to_owned());
        }
    })?;
    Ok(known.into())
}

fn explain(
    live: &mut Live,
    part: &mut Part,
    (class, tenant, id, time_ms): (Class, &str, &str, Option<i64>),
    now_ms: i64,
) -> Result<Option<Answer>, StateError> {
    let (engine, store) = (&mut live.engine, &mut live.store);
    let times_ms = match (time_ms, class) {
        (Some(time_ms), _) => vec![time_ms],
        (None, Class::Message) => {
            let mut budget = Budget { rows: STEP_ROWS };
            let so_far = std::mem::take(&mut part.search);
            part.search = engine.search(store, tenant, id, &mut budget, so_far)?;
            if part.search.position.is_some() {
                return Ok(None);
            }
            std::mem::take(&mut part.search.times_ms)
        }
        (None, Class::Profile | Class::Config) => {
            let live = engine.live_version(store, tenant, id, now_ms)?;
            live.into_iter().map(|(_, time_ms)| time_ms).collect()
        }
    };
    let mut found: Vec<(Option<i64>, Explanation)> = Vec::new();
    for time_ms in times_ms {
        found.push((Some(time_ms), engine.explain(store, tenant, time_ms, id, now_ms)?));
    }
    Ok(Some(Answer::Explained(found)))
}
