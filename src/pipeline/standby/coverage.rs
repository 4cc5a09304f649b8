//! Whether every partition of the inputs has an owner.
//!
//! A static member that comes back within its session is given what it had, without a rebalance. What
//! an input has gained meanwhile is then nobody's, until a member joins anew. So one is made to.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::seam::{Member, PartitionId, Roster};

/// Nobody has a partition at so many looks in a row, before it counts as left out: the group may just
/// have come to rest.
const LOOKS: u32 = 2;
/// A rebalance that was asked for has to have come to its end before another is.
const PAUSE: Duration = Duration::from_secs(60);

/// The wish that a worker leave its place in the group, and take one anew.
#[derive(Debug, Default)]
pub struct Rejoin {
    /// The worker's number and one; 0: nobody.
    worker: AtomicUsize,
}

impl Rejoin {
    pub(super) fn ask(&self, worker: usize) {
        self.worker.store(worker + 1, Ordering::Release);
    }

    /// Whether this worker was asked, since it last looked.
    pub(in super::super) fn is_asked(&self, worker: usize) -> bool {
        let (asked, nobody) = (worker + 1, 0);
        self.worker.load(Ordering::Relaxed) == asked
            && self
                .worker
                .compare_exchange(asked, nobody, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    looks: u32,
    /// Not to be asked for again before this moment.
    not_before: Duration,
}

impl Coverage {
    /// Looks at a group at rest. Gives the worker of this instance that is to join anew, and how many
    /// partitions nobody has.
    pub(super) fn look(
        &mut self,
        roster: &Roster,
        inputs: &BTreeSet<PartitionId>,
        instance: &str,
        now: Duration,
    ) -> Option<(usize, usize)> {
        let of_members = roster.members.iter().flat_map(|member| &member.partitions);
        let owned: BTreeSet<PartitionId> = of_members.chain(&roster.elsewhere).copied().collect();
        let left_out = inputs.difference(&owned).count();
        if left_out == 0 {
            self.looks = 0;
            return None;
        }
        self.looks += 1;
        if self.looks < LOOKS || now < self.not_before {
            return None;
        }
        // The member that has the least has the least to lose; every process finds the same one.
        let least =
            |member: &&Member| (member.partitions.len(), member.instance.clone(), member.worker);
        let chosen = roster.members.iter().min_by_key(least)?;
        (chosen.instance == instance).then(|| {
            self.not_before = now + PAUSE;
            (chosen.worker, left_out)
        })
    }
}

#[cfg(test)]
mod tests {
    use lethe_engine::Class;

    use super::*;

    fn ids(partitions: &[i32]) -> Vec<PartitionId> {
        partitions
            .iter()
            .map(|&partition| PartitionId { class: Class::Message, partition })
            .collect()
    }

    fn roster(members: &[(&str, usize, &[i32])]) -> Roster {
        let member = |&(instance, worker, partitions): &(&str, usize, &[i32])| Member {
            instance: instance.to_owned(),
            worker,
            partitions: ids(partitions),
        };
        Roster { members: members.iter().map(member).collect(), elsewhere: Vec::new() }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_nobody_has_is_noticed_at_the_second_look_by_one_process() {
        let inputs = ids(&[0, 1, 2, 3]).into_iter().collect();
        let roster = roster(&[("a", 0, &[0]), ("b", 0, &[1, 2]), ("a", 1, &[])]);
        let (mut a, mut b) = (Coverage::default(), Coverage::default());
        assert_eq!(a.look(&roster, &inputs, "a", SECOND), None);
        assert_eq!(b.look(&roster, &inputs, "b", SECOND), None);
        assert_eq!(a.look(&roster, &inputs, "a", 2 * SECOND), Some((1, 1)));
        assert_eq!(b.look(&roster, &inputs, "b", 2 * SECOND), None);
        assert_eq!(a.look(&roster, &inputs, "a", 3 * SECOND), None, "it takes its time");
        assert_eq!(a.look(&roster, &inputs, "a", 2 * SECOND + PAUSE), Some((1, 1)));
    }

    #[test]
    fn a_group_that_has_all_is_left_alone() {
        let inputs = ids(&[0, 1]).into_iter().collect();
        let roster = roster(&[("a", 0, &[0]), ("b", 0, &[1])]);
        let mut coverage = Coverage::default();
        for _ in 0..5 {
            assert_eq!(coverage.look(&roster, &inputs, "a", SECOND), None);
        }
    }

    #[test]
    fn what_others_than_lethe_have_is_not_left_out() {
        let inputs = ids(&[0, 1]).into_iter().collect();
        let mut roster = roster(&[("a", 0, &[0])]);
        roster.elsewhere = ids(&[1]);
        let mut coverage = Coverage::default();
        for _ in 0..5 {
            assert_eq!(coverage.look(&roster, &inputs, "a", SECOND), None);
        }
    }

    #[test]
    fn only_the_worker_that_is_asked_hears_it_and_once() {
        let rejoin = Rejoin::default();
        assert!(!rejoin.is_asked(0));
        rejoin.ask(1);
        assert!(!rejoin.is_asked(0));
        assert!(rejoin.is_asked(1));
        assert!(!rejoin.is_asked(1));
    }
}
