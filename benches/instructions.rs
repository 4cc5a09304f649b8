//! Runs a part of a record's way once, for valgrind to count its instructions: `scripts/instructions` asks for
//! the names, runs each, and holds the counts against `benches/instructions.txt` (docs/testing.md).
#![expect(clippy::unwrap_used, reason = "what cannot be set up cannot be measured")]
#![expect(clippy::print_stdout, reason = "the names are what it is asked for")]

mod subjects;

use std::hint::black_box;

use subjects::{Ledger, Worker};

/// Prepares a part and runs it in [`measured_part`].
type Run = fn();

const PARTS: [(&str, Run); 6] = [
    ("decode", || {
        let values = subjects::values();
        measured_part(|| subjects::decode(&values));
    }),
    ("encode_keys", || {
        let events = subjects::events();
        measured_part(|| subjects::encode_keys(&events));
    }),
    ("apply", || {
        let mut ledger = Ledger::new();
        measured_part(|| ledger.apply());
    }),
    ("delta", || {
        let mut ledger = Ledger::applied();
        measured_part(|| ledger.delta());
    }),
    ("expire", || {
        let mut ledger = Ledger::applied();
        measured_part(|| ledger.expire());
    }),
    ("worker", || {
        let mut worker = Worker::new(1);
        measured_part(|| worker.take());
    }),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    for (name, run) in PARTS {
        if arguments.iter().any(|argument| argument == "--names") {
            println!("{name}");
        } else if arguments.iter().any(|argument| argument == name) {
            run();
        }
    }
}

/// valgrind counts from when this is entered until it is left: its name is an argument there.
#[inline(never)]
fn measured_part<R>(part: impl FnOnce() -> R) {
    black_box(part());
}
