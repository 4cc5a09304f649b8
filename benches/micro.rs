//! How long the way of a record takes, part by part: `make bench-micro`.
#![expect(clippy::unwrap_used, reason = "what cannot be set up cannot be measured")]

mod subjects;

use divan::Bencher;
use divan::counter::ItemsCount;
use subjects::{Ledger, RECORDS, Worker};

/// Runs of the worker, each with records of its own.
const WORKER_RUNS: usize = 200;

fn main() {
    divan::main();
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let values = subjects::values();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| subjects::decode(&values));
}

#[divan::bench]
fn encode_keys(bencher: Bencher<'_, '_>) {
    let events = subjects::events();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| subjects::encode_keys(&events));
}

#[divan::bench]
fn apply(bencher: Bencher<'_, '_>) {
    let bencher = bencher.counter(ItemsCount::new(RECORDS)).with_inputs(Ledger::new);
    bencher.bench_local_refs(Ledger::apply);
}

#[divan::bench]
fn delta(bencher: Bencher<'_, '_>) {
    let bencher = bencher.counter(ItemsCount::new(RECORDS)).with_inputs(Ledger::applied);
    bencher.bench_local_refs(Ledger::delta);
}

#[divan::bench]
fn expire(bencher: Bencher<'_, '_>) {
    let bencher = bencher.counter(ItemsCount::new(RECORDS)).with_inputs(Ledger::applied);
    bencher.bench_local_refs(Ledger::expire);
}

#[divan::bench(sample_count = WORKER_RUNS as u32, sample_size = 1)]
fn worker(bencher: Bencher<'_, '_>) {
    let mut worker = Worker::new(WORKER_RUNS);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| worker.take());
}
