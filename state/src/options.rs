//! How RocksDB is set up.
//!
//! Made for what a ledger does: inserts in sorted batches, hardly an overwrite, point reads of rows that
//! are recent or absent, scans that run forward, and rows that go by being forgotten in a compaction.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, DBCompressionType, LogLevel, Options, ReadOptions,
    WriteOptions,
};

use crate::filter::Forgetting;
use crate::memory::Memory;

/// Ids compress better in larger blocks; a point read has to unpack a whole one.
const BLOCK_BYTES: usize = 16 * 1024;

/// Parts of an index or filter, the unit in which they are cached: a whole filter of a file of 64 MiB takes
/// megabytes for one read.
const METADATA_BLOCK_BYTES: usize = 4 * 1024;

/// About 1 % of the reads of absent rows go to a block in vain.
const FILTER_BITS_A_KEY: f64 = 10.0;

/// Buffers that may wait for their flush before writers do.
const WRITE_BUFFERS_MAX: i32 = 4;

/// A write buffer grows in steps of this size, also an idle partition's: there may be hundreds.
const ARENA_BLOCK_BYTES: usize = 64 * 1024;

/// A file that nothing is written to is read again after this time, so that forgotten ids leave the disk.
const PERIODIC_COMPACTION_SECONDS: u64 = 24 * 60 * 60;

/// More than the files of a store of 10 GB, so that in practice each stays open.
const OPEN_FILES_MAX: i32 = 256;

/// RocksDB's own log holds warnings alone: two files of this size are plenty.
const LOG_BYTES_MAX: usize = 1024 * 1024;
const LOG_FILES_MAX: usize = 2;

/// How much of a write buffer is its filter of keys.
const MEMTABLE_FILTER_SHARE: f64 = 0.05;

/// The list of a store's files is short: RocksDB would set aside megabytes of disk for it at each start.
const MANIFEST_BYTES_AHEAD: usize = 64 * 1024;

/// How many flushes bring a compaction. Each rewrites most of what is there, since rows of every tenant come all
/// the time; few reads look at what was flushed last, and the filters spare them the rest.
const FLUSHES_A_COMPACTION: i32 = 8;

/// How many flushes bring a compaction where it happens in step.
const FLUSHES_IN_STEP: i32 = 2;

/// From how many rows on a scan is a long one, that reads ahead and leaves the cache alone.
const LONG_SCAN_ROWS: usize = 4096;

/// About how much a long scan reads.
const READAHEAD_BYTES: usize = 256 * 1024;

/// The options of a store.
pub(crate) fn store(memory: &Memory, forgetting: &Forgetting) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(LOG_BYTES_MAX);
    options.set_keep_log_file_num(LOG_FILES_MAX);
    options.set_stats_dump_period_sec(0);
    options.set_manifest_preallocation_size(MANIFEST_BYTES_AHEAD);
    let in_step = memory.is_in_step();
    let flushes = if in_step { FLUSHES_IN_STEP } else { FLUSHES_A_COMPACTION };
    options.set_level_zero_file_num_compaction_trigger(flushes);
    if in_step {
        options.set_max_file_opening_threads(1);
    }
    set_write_buffers(&mut options, memory);
    set_levels(&mut options);
    options.set_block_based_table_factory(&table(memory));
    options.set_compaction_filter(c"lethe.forget", forgetting.filter());
    options
}

fn set_write_buffers(options: &mut Options, memory: &Memory) {
    options.set_write_buffer_manager(memory.write_buffers());
    options.set_write_buffer_size(memory.store_write_buffer_bytes());
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX);
    options.set_arena_block_size(ARENA_BLOCK_BYTES);
    // Many a read is of what is not there: a filter answers it without a walk down the skip list.
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER_SHARE);
    options.set_memtable_whole_key_filtering(true);
    // A store has one writer. Without concurrent inserts the skip list remembers where it last
    // inserted, which makes a sorted batch cheap.
    options.set_allow_concurrent_memtable_write(false);
    options.set_enable_write_thread_adaptive_yield(false);
}

fn set_levels(options: &mut Options) {
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_periodic_compaction_seconds(PERIODIC_COMPACTION_SECONDS);
}

/// The options of a file that is written beside a store and taken in later.
pub(crate) fn file() -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_block_based_table_factory(&blocks());
    options
}

fn table(memory: &Memory) -> BlockBasedOptions {
    let mut table = blocks();
    table.set_block_cache(memory.cache());
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_top_level_index_and_filter(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}

fn blocks() -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_size(BLOCK_BYTES);
    table.set_bloom_filter(FILTER_BITS_A_KEY, false);
    table.set_whole_key_filtering(true);
    table.set_optimize_filters_for_memory(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(METADATA_BLOCK_BYTES);
    table
}

/// The options of every write: the changelog is the log.
pub(crate) fn write() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

/// The options of a point read.
pub(crate) fn get() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options
}

/// The options of a scan of about `rows_max` rows that ends before `to`.
pub(crate) fn scan(to: &[u8], rows_max: usize) -> ReadOptions {
    let mut options = get();
    options.set_iterate_upper_bound(to);
    if rows_max >= LONG_SCAN_ROWS {
        options.set_readahead_size(READAHEAD_BYTES);
        options.fill_cache(false);
    }
    options
}

/// The options of a read that sees what is on disk alone.
pub(crate) fn persisted() -> ReadOptions {
    let mut options = get();
    options.set_read_tier(rocksdb::ReadTier::Persisted);
    options
}
