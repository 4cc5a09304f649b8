//! What is asked of the workers beside their work: each answers for the partitions that it has.
//!
//! Invariants: nothing is written for an answer; a question takes at most a slice of rows of a step, so
//! that it holds nothing up; what is said of erasures and replays is committed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lethe_engine::ledger::{ErasureRow, ReplayRow};
use lethe_engine::lifecycle::{Explanation, Forecast};
use lethe_engine::{Class, ControlRecord};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::seam::PartitionId;

/// Questions that a worker may have before it: more are refused.
const WAITING_MAX: usize = 16;

/// What is asked.
#[derive(Debug)]
pub enum Question {
    /// What holds for a record, and why.
    Explain {
        /// Of which class it is.
        class: Class,
        /// Whose.
        tenant: String,
        /// What follows the tenant in its record key.
        id: String,
        /// Its sent or update time (Unix ms); none: it is searched for.
        time_ms: Option<i64>,
    },
    /// What changes would end.
    Forecast {
        /// Of these tenants; none: of all.
        tenants: Option<Vec<String>>,
        /// The records that would be written.
        proposals: Vec<ControlRecord>,
        /// So many days ahead are told apart.
        days: usize,
    },
    /// How far an erasure is.
    Erasure {
        /// Its control key.
        control_key: String,
    },
    /// How far replays are.
    Replays {
        /// The control key of one; none: all that are remembered.
        control_key: Option<String>,
    },
}

/// A partition's answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What holds for the record, under each time that is known of it.
    Explained(Vec<(Option<i64>, Explanation)>),
    /// What its records come to, by tenant.
    Forecast(Vec<(String, Forecast)>),
    /// What it did for the erasure, with its control record's offset; none: it does not know it.
    Erasure(Option<(i64, ErasureRow)>),
    /// Its part of the replays, with the offsets of their first control records, in order. A replay of another
    /// class is none of its.
    Replays(Vec<(i64, ReplayRow)>),
}

/// What a worker answers: for each of its partitions.
pub type Answers = Vec<(PartitionId, Answer)>;

/// A question before a worker.
pub(super) struct Asked {
    pub(super) question: Arc<Question>,
    pub(super) reply: UnboundedSender<Answers>,
}

/// The questions before each worker of the process.
pub struct Questions {
    workers: Vec<(AtomicUsize, Mutex<VecDeque<Asked>>)>,
}

/// The workers have too much to answer already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl Questions {
    /// To so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| Default::default()).collect() }
    }

    /// Asks every worker. Each sends one answer, unless it ends before.
    ///
    /// # Errors
    /// A worker has too many questions before it.
    pub fn ask(&self, question: Question) -> Result<UnboundedReceiver<Answers>, Busy> {
        if self.workers.iter().any(|(count, _)| count.load(Ordering::Acquire) >= WAITING_MAX) {
            return Err(Busy);
        }
        let (reply, answers) = unbounded_channel();
        let question = Arc::new(question);
        for (count, waiting) in &self.workers {
            let asked = Asked { question: Arc::clone(&question), reply: reply.clone() };
            lock(waiting).push_back(asked);
            count.fetch_add(1, Ordering::AcqRel);
        }
        Ok(answers)
    }

    /// Whether a worker is asked something.
    pub(super) fn is_asked(&self, worker: usize) -> bool {
        self.workers.get(worker).is_some_and(|(count, _)| count.load(Ordering::Acquire) > 0)
    }

    /// The next question before a worker.
    pub(super) fn take(&self, worker: usize) -> Option<Asked> {
        let (count, waiting) = self.workers.get(worker)?;
        let asked = lock(waiting).pop_front();
        if asked.is_some() {
            count.fetch_sub(1, Ordering::AcqRel);
        }
        asked
    }
}

fn lock(waiting: &Mutex<VecDeque<Asked>>) -> MutexGuard<'_, VecDeque<Asked>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question::Erasure { control_key: "erasure/1".to_owned() }
    }

    #[test]
    fn every_worker_is_asked_and_no_more_than_so_often() {
        let questions = Questions::new(2);
        assert!(!questions.is_asked(1));
        for _ in 0..WAITING_MAX {
            assert!(questions.ask(question()).is_ok());
        }
        assert!(questions.is_asked(0) && questions.is_asked(1));
        assert_eq!(questions.ask(question()).err(), Some(Busy));
        for worker in [0, 1] {
            assert!(questions.take(worker).is_some());
        }
        assert!(questions.ask(question()).is_ok());
    }
}
