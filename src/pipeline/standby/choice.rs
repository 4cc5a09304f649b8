//! Which partitions an instance follows: rendezvous hashing over the instances of the group, so that
//! each comes to the same result by itself, and little changes when one comes or goes.

use std::collections::{BTreeMap, BTreeSet};

use lethe_engine::Class;

use super::super::seam::{PartitionId, Roster};

/// The partitions that an instance is to follow: of each that it does not have, those for which it is
/// among the first `standbys` of the instances beside the owner.
pub(super) fn followed(
    roster: &Roster,
    instance: &str,
    standbys: usize,
    partitions: &BTreeSet<PartitionId>,
) -> BTreeSet<PartitionId> {
    let instances: BTreeSet<&str> =
        roster.members.iter().map(|member| member.instance.as_str()).collect();
    let owners: BTreeMap<PartitionId, &str> = roster
        .members
        .iter()
        .flat_map(|member| member.partitions.iter().map(|&id| (id, member.instance.as_str())))
        .collect();
    let chosen = |id: &PartitionId| {
        let owner = owners.get(id);
        let mut others: Vec<(u64, &str)> = instances
            .iter()
            .filter(|name| owner != Some(*name))
            .map(|name| (weight(name, *id), *name))
            .collect();
        others.sort_unstable();
        others.iter().rev().take(standbys).any(|(_, name)| *name == instance)
    };
    partitions.iter().copied().filter(chosen).collect()
}

/// FNV-1a over the name and the partition, then mixed: the same in every version of lethe.
fn weight(instance: &str, id: PartitionId) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let class = match id.class {
        Class::Message => 1_u8,
        Class::Profile => 2,
        Class::Config => 3,
    };
    let partition = id.partition.to_be_bytes();
    let bytes = instance.bytes().chain([class]).chain(partition);
    let hash = bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    // The finaliser of SplitMix64: FNV alone hardly changes the high bits with the last bytes.
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::super::seam::Member;
    use super::*;

    const PARTITIONS: i32 = 60;

    fn id(partition: i32) -> PartitionId {
        PartitionId { class: Class::Message, partition }
    }

    fn all() -> BTreeSet<PartitionId> {
        (0..PARTITIONS).map(id).collect()
    }

    /// The partitions go round among these instances.
    fn roster(names: &[&str]) -> Roster {
        let member = |(at, name): (usize, &&str)| Member {
            instance: (*name).to_owned(),
            worker: 0,
            partitions: (0..PARTITIONS)
                .filter(|partition| {
                    usize::try_from(*partition).is_ok_and(|p| p % names.len() == at)
                })
                .map(id)
                .collect(),
        };
        Roster { members: names.iter().enumerate().map(member).collect(), elsewhere: Vec::new() }
    }

    #[test]
    fn each_partition_has_so_many_standbys_and_never_its_owner() {
        let names = ["a", "b", "c", "d"];
        let roster = roster(&names);
        for standbys in 0..=3 {
            let mut count: BTreeMap<PartitionId, usize> = BTreeMap::new();
            for name in names {
                for id in followed(&roster, name, standbys, &all()) {
                    let owner =
                        roster.members.iter().find(|member| member.partitions.contains(&id));
                    assert_ne!(owner.map(|member| member.instance.as_str()), Some(name));
                    *count.entry(id).or_default() += 1;
                }
            }
            let right = if standbys == 0 { 0 } else { PARTITIONS as usize };
            assert_eq!(count.len(), right);
            assert!(count.values().all(|count| *count == standbys), "{standbys}: {count:?}");
        }
    }

    #[test]
    fn more_standbys_than_others_is_all_of_them() {
        let roster = roster(&["a", "b"]);
        assert_eq!(followed(&roster, "a", 5, &all()).len(), PARTITIONS as usize / 2);
        assert!(followed(&self::roster(&["a"]), "a", 5, &all()).is_empty());
    }

    #[test]
    fn the_work_is_shared() {
        let names = ["a", "b", "c", "d"];
        for name in names {
            let count = followed(&roster(&names), name, 1, &all()).len();
            assert!((5..=30).contains(&count), "{name} follows {count} of {PARTITIONS}");
        }
    }

    #[test]
    fn a_partition_without_an_owner_is_followed() {
        let mut roster = roster(&["a", "b"]);
        for member in &mut roster.members {
            member.partitions.clear();
        }
        let by_a = followed(&roster, "a", 1, &all());
        let by_b = followed(&roster, "b", 1, &all());
        assert!(by_a.is_disjoint(&by_b));
        assert_eq!(by_a.len() + by_b.len(), PARTITIONS as usize);
    }
}
