//! Memory that all stores of a process share, so that its bound does not grow with the partitions.

use rocksdb::{Cache, WriteBufferManager};

use crate::snapshot::Room;

/// One store's write buffer is at most this part of what all share, so that a busy one can fill a buffer
/// while the one before it is being flushed, and the others still have room.
const WRITE_BUFFER_SHARE: usize = 4;

/// Smaller buffers make files too small to be worth a compaction.
const WRITE_BUFFER_BYTES_MIN: usize = 1024 * 1024;

/// Larger buffers make look-ups slower (a skip list is searched) and save little.
const WRITE_BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Which part of the write buffers a restore may fill with deltas that wait for their snapshot.
const AHEAD_SHARE: usize = 2;

/// The block cache and the write buffers of all stores of a process.
///
/// Write buffers are charged to the cache: together they stay at about the sum of both sizes, and what the
/// buffers do not use holds blocks. Writers are never stalled at the bound (a store without traffic could
/// hold the memory that a busy one waits for); the busy one flushes early instead.
#[derive(Clone)]
pub struct Memory {
    cache: Cache,
    write_buffers: WriteBufferManager,
    write_buffer_bytes: usize,
    ahead: Room,
    in_step: bool,
}

impl Memory {
    /// Memory of these sizes.
    #[must_use]
    pub fn new(cache_bytes: usize, write_buffer_bytes: usize) -> Self {
        let cache = Cache::new_lru_cache(cache_bytes.saturating_add(write_buffer_bytes));
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            write_buffer_bytes,
            false,
            cache.clone(),
        );
        let ahead = Room::new(write_buffer_bytes / AHEAD_SHARE);
        Self { cache, write_buffers, write_buffer_bytes, ahead, in_step: false }
    }

    /// What RocksDB does on threads of its own is done when a call to a store returns, and it compacts after few
    /// flushes: for tests whose runs repeat. Restores have so much room for deltas that wait for their snapshot.
    #[must_use]
    pub fn in_step(self, ahead_bytes: usize) -> Self {
        Self { in_step: true, ahead: Room::new(ahead_bytes), ..self }
    }

    /// Bytes that blocks and write buffers take at the moment.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.cache.get_usage()
    }

    /// Room for deltas that wait for their snapshot.
    pub(crate) const fn ahead(&self) -> &Room {
        &self.ahead
    }

    pub(crate) const fn is_in_step(&self) -> bool {
        self.in_step
    }

    pub(crate) const fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) const fn write_buffers(&self) -> &WriteBufferManager {
        &self.write_buffers
    }

    /// The size of one store's write buffer.
    pub(crate) fn store_write_buffer_bytes(&self) -> usize {
        (self.write_buffer_bytes / WRITE_BUFFER_SHARE)
            .clamp(WRITE_BUFFER_BYTES_MIN, WRITE_BUFFER_BYTES_MAX)
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory")
            .field("used_bytes", &self.used_bytes())
            .field("write_buffer_bytes", &self.write_buffer_bytes)
            .finish_non_exhaustive()
    }
}
