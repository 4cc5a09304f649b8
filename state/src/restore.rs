//! Putting deltas together from the records of the changelog.
//!
//! A delta is written whole or not at all. Of one whose writer died, or whose transaction was aborted on a
//! broker without filtering, only the first parts may be there: they wait in memory, and are dropped when
//! the delta with that sequence begins anew.

use std::path::Path;

use crate::delta::{Delta, DeltaHeader};
use crate::error::StateError;
use crate::filter::Forgetting;
use crate::store::Writes;

/// What became of a record of the changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It was the last part of the next delta, which is written now. The header is this last part's.
    Applied(DeltaHeader),
    /// It waits for the parts that follow.
    Incomplete,
    /// Its delta had been applied before.
    Known,
}

/// A record, put with those before it.
pub(crate) enum Collected {
    Whole(DeltaHeader, Writes),
    Incomplete,
    Known,
}

/// The parts of the next delta that are there.
#[derive(Default)]
pub(crate) struct Assembly(Option<Arriving>);

struct Arriving {
    /// Of the last part that is there.
    header: DeltaHeader,
    writes: Writes,
}

impl Assembly {
    /// Whether a delta waits for the rest of its parts.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.0.is_some()
    }

    /// Forgets the parts that are there.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Takes in a record, given the sequence of the last delta applied.
    pub(crate) fn add(
        &mut self,
        record: &[u8],
        applied: u64,
        forgetting: &Forgetting,
        dir: &Path,
    ) -> Result<Collected, StateError> {
        let refused = |source| StateError::Delta { dir: dir.to_owned(), source };
        let mut delta = Delta::decode(record).map_err(refused)?;
        let header = *delta.header();
        if header.sequence <= applied {
            return Ok(Collected::Known);
        }
        if header.sequence - applied > 1 {
            let found = header.sequence;
            return Err(StateError::Gap { dir: dir.to_owned(), applied, found });
        }
        let mut writes = self.take_before(&header, dir)?;
        while let Some((key, value)) = delta.next_row().map_err(refused)? {
            writes.add(key, value, forgetting);
        }
        if header.part == header.parts {
            return Ok(Collected::Whole(header, writes));
        }
        self.0 = Some(Arriving { header, writes });
        Ok(Collected::Incomplete)
    }

    /// The rows of the parts before this one.
    fn take_before(&mut self, header: &DeltaHeader, dir: &Path) -> Result<Writes, StateError> {
        let arriving = self.0.take();
        if header.part == 1 {
            return Ok(Writes::default());
        }
        let expected = arriving.as_ref().map_or(1, |arriving| arriving.header.part + 1);
        match arriving {
            Some(Arriving { header: before, writes })
                if *header == (DeltaHeader { part: expected, ..before }) =>
            {
                Ok(writes)
            }
            Some(_) | None => Err(StateError::PartMissing {
                dir: dir.to_owned(),
                sequence: header.sequence,
                expected,
                found: header.part,
            }),
        }
    }
}
