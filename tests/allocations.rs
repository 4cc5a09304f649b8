//! lethe's own code allocates nothing for a record: what there is of allocations comes with a batch.
//!
//! A worker without Kafka takes in what is sent and delivered, in small batches and in large ones: what a
//! record allocates is what a larger batch allocates more. Only Rust's allocations of the worker's thread count:
//! RocksDB and librdkafka have allocators of their own.
#![expect(unsafe_code, reason = "an allocator that counts and passes on to the system's")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests, which print what they found")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lethe::bench::messages::Shape;
use lethe::bench::unplugged::Unplugged;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: all of it is the system allocator's; the counter is a plain cell of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, bytes: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(bytes, layout, size) }
    }

    unsafe fn dealloc(&self, bytes: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(bytes, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn count() {
    // A thread that ends has none any more, and is not counted.
    let _ended = ALLOCATIONS.try_with(|all| all.set(all.get() + 1));
}

/// Records of a small and of a large batch.
const SMALL: usize = 2_000;
const LARGE: usize = 20_000;
/// Batches before it is counted: buffers have grown by then, and tenants are known.
const WARM_UP: usize = 4;
const COUNTED: usize = 5;
/// One allocation in so many records is a buffer of the batch that grows with it: a delta's parts, some timestamps.
const RECORDS_AN_ALLOCATION: u64 = 250;

/// The fewest allocations of a batch.
fn allocations(worker: &mut Unplugged, records: usize) -> u64 {
    let of_a_batch = |_| {
        let before = ALLOCATIONS.get();
        let produced = worker.take(records).unwrap();
        assert!(produced > records as u64 / 10, "it has done its work");
        ALLOCATIONS.get() - before
    };
    (0..COUNTED).map(of_a_batch).min().unwrap()
}

fn check(name: &str, shape: Shape) {
    let dir = tempfile::tempdir().unwrap();
    let mut worker = Unplugged::new(dir.path(), &shape).unwrap();
    for _ in 0..WARM_UP {
        worker.take(LARGE).unwrap();
    }
    let small = allocations(&mut worker, SMALL);
    let large = allocations(&mut worker, LARGE);
    let more = large.saturating_sub(small);
    println!("{name}: {small} for a batch of {SMALL}, {large} for one of {LARGE}");
    let records = (LARGE - SMALL) as u64;
    assert!(
        more <= records / RECORDS_AN_ALLOCATION,
        "{name}: {more} allocations for {records} more records: {:.3} each",
        more as f64 / records as f64
    );
}

fn shape() -> Shape {
    let batches = WARM_UP * LARGE + COUNTED * (SMALL + LARGE);
    Shape { messages: batches as u64, ..Shape::default() }
}

#[test]
fn nothing_is_allocated_for_what_is_sent_and_delivered() {
    check("sent and delivered", shape());
}

#[test]
fn nothing_is_allocated_for_groups_edits_and_recalls() {
    let (edited_percent, recalled_percent) = (5, 5);
    check("mixed", Shape { groups: true, edited_percent, recalled_percent, ..shape() });
}

#[test]
fn nothing_is_allocated_under_holds_and_conversations_with_a_retention_of_their_own() {
    check("holds and overrides", Shape { holds: 500, overrides: 20, ..shape() });
}
