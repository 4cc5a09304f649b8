//! A store that is restored from another's deltas equals it.

use lethe_engine::Ledger;
use proptest::prelude::*;

use crate::support::{all, changelog_offset, home, open, restore_all};

type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let key = prop::collection::vec(prop_oneof![1_u8..4, any::<u8>()], 0..40)
        .prop_map(|rest| [b"E".to_vec(), rest].concat());
    let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..300));
    prop::collection::vec(prop::collection::vec((key, value), 0..60), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn deltas_rebuild_an_equal_store(batches in batches(), part_bytes_max in 0_usize..3000) {
        let (_home, dir) = home();
        let (_copy_home, copy_dir) = home();
        let (mut store, mut copy) = (open(&dir), open(&copy_dir));
        for batch in batches {
            let row_bytes_max =
                batch.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).max();
            for (key, value) in &batch {
                match value {
                    Some(value) => store.put(key, value),
                    None => store.delete(key),
                }
            }
            let parts = store.delta(1, 2, 3, part_bytes_max);
            // 64: the header, the checksum and three varints.
            let bytes_max = part_bytes_max.max(row_bytes_max.unwrap_or(0) + 64);
            assert!(parts.iter().all(|part| part.len() <= bytes_max));
            let next = changelog_offset(store.sequence() + 1);
            store.commit(next).unwrap();
            restore_all(&mut copy, &parts, next);
            assert_eq!(copy.sequence(), store.sequence());
            assert_eq!(copy.changelog_offset(), store.changelog_offset());
        }
        assert_eq!(all(&mut copy), all(&mut store));
        drop(copy);
        assert_eq!(all(&mut open(&copy_dir)), all(&mut store));
    }
}
