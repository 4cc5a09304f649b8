//! Writing the ledgers that were put together: each as a snapshot on its changelog, and then, with one
//! transaction for all, the positions from which lethe goes on.
//!
//! Invariant: until that transaction the positions say that nothing may start from them.

use lethe_state::Store;

use super::{Failed, Progress, Seen};
use crate::audit;
use crate::pipeline::kafka::{Positions, RdOutput};
use crate::pipeline::seam::{
    Appended, Headers, Output as _, OutputRecord, PartitionId, Position, Role,
};
use crate::pipeline::settings::{DELTA_PART_BYTES_MAX, SNAPSHOT_SLICE_BYTES};
use crate::pipeline::transaction::{Mark, SnapshotMark};

/// A partition whose ledger lies on its changelog.
pub(super) struct Written {
    id: PartitionId,
    key: Vec<u8>,
    /// The first delta behind the snapshot: it changes nothing, and says of which topics the offsets are.
    delta: Vec<Vec<u8>>,
    position: Position,
}

/// Where a ledger stands.
#[derive(Clone, Copy)]
pub(super) struct Stand {
    pub(super) input_offset: i64,
    pub(super) control_offset: i64,
    pub(super) decided_at_ms: i64,
    /// The host's clock (Unix ms).
    pub(super) wall_ms: i64,
}

/// Writes a partition's ledger as a snapshot, a slice a transaction.
pub(super) fn snapshot(
    output: &mut RdOutput,
    id: PartitionId,
    key: Vec<u8>,
    store: &mut Store,
    stand: Stand,
    seen: Seen<'_>,
) -> Result<Written, Failed> {
    let mut cursor = Some(store.begin_snapshot());
    let (mut start, mut bytes) = (None, 0);
    while let Some(at) = cursor {
        let slice = store.snapshot_slice(&at, DELTA_PART_BYTES_MAX, SNAPSHOT_SLICE_BYTES)?;
        let mut appended = Vec::new();
        output.begin()?;
        for record in &slice.records {
            send(output, id, &key, record)?;
            bytes += record.len() as u64;
        }
        output.commit(&mut appended)?;
        start = start.or_else(|| appended.first().map(|first: &Appended| first.offset));
        seen(Progress::Written(bytes));
        cursor = slice.next;
    }
    let Some(start) = start else {
        return Err(Failed::Other("the broker did not say where a snapshot came to lie".into()));
    };
    let Stand { input_offset, control_offset, decided_at_ms, wall_ms } = stand;
    let delta = store.delta(input_offset, control_offset, decided_at_ms, DELTA_PART_BYTES_MAX);
    let mark = Mark {
        snapshot: Some(SnapshotMark { start, at_ms: wall_ms, bytes }),
        since: delta.iter().map(|part| part.len() as u64).sum(),
    };
    let metadata = mark.metadata(store.sequence() + 1);
    let position = Position { id, offset: input_offset, metadata };
    Ok(Written { id, key, delta, position })
}

/// Makes all of it count at once.
pub(super) fn finish(
    output: &mut RdOutput,
    group: &Positions,
    written: &[Written],
    reports: &[Vec<u8>],
) -> Result<(), Failed> {
    output.begin()?;
    for Written { id, key, delta, .. } in written {
        for part in delta {
            send(output, *id, key, part)?;
        }
    }
    for report in reports {
        let (role, headers) = (Role::Audit, &Headers::default());
        let (partition, key) = (audit::PARTITION, Some(audit::REBUILD.as_bytes()));
        output.send(&OutputRecord { role, partition, key, value: Some(report), headers })?;
    }
    let positions: Vec<Position> = written.iter().map(|one| one.position.clone()).collect();
    output.send_positions_of_nobody(group, &positions)?;
    output.commit(&mut Vec::new())?;
    Ok(())
}

fn send(output: &mut RdOutput, id: PartitionId, key: &[u8], value: &[u8]) -> Result<(), Failed> {
    let headers = Headers::default();
    Ok(output.send(&OutputRecord {
        role: Role::Changelog(id.class),
        partition: id.partition,
        key: Some(key),
        value: Some(value),
        headers: &headers,
    })?)
}
