//! The verbs: what is asked for on the command line, done.
//!
//! Invariant: exit codes are 0 (done), 1 (failed) and 2 (asked wrongly); whatever fails says what,
//! where and what to do, on standard error.

mod bench;
mod by;
mod control;
mod demo;
mod drain;
mod endpoints;
mod erase;
mod explain;
mod forecast;
mod health;
mod hold;
mod own;
mod policy;
mod rebuild;
mod replay;
mod run;
mod settings;
mod stop;
mod terms;
mod topics;
mod wait;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Failure;

/// An example of the main verbs, after the list of all.
const EXAMPLE: &str = "Example:
  lethe demo
  lethe topics plan --brokers kafka-1:9092
  lethe run --brokers kafka-1:9092 --data-dir /var/lib/lethe

`lethe help VERB` has an example of each.";

/// A Kafka stream processor for the lifecycle of messages: retention, erasure and proof.
#[derive(Debug, Parser)]
#[command(
    name = "lethe",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = EXAMPLE
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Drain(drain::Drain),
    Health(health::Health),
    Demo(demo::Demo),
    #[command(subcommand)]
    Bench(bench::Bench),
    #[command(subcommand)]
    Topics(topics::Topics),
    #[command(subcommand)]
    Policy(policy::Policy),
    #[command(subcommand)]
    Terms(terms::Terms),
    #[command(subcommand)]
    Hold(hold::Hold),
    #[command(subcommand)]
    Erase(erase::Erase),
    Explain(explain::Explain),
    Forecast(forecast::Forecast),
    #[command(subcommand)]
    Replay(replay::Replay),
    Rebuild(rebuild::Rebuild),
}

/// Does what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    // Clap answers --help (0) and what it does not understand (2) by itself.
    let cli = Cli::parse();
    let done = match cli.verb {
        Verb::Run(verb) => run::run(&verb),
        Verb::Drain(verb) => drain::run(&verb),
        Verb::Health(verb) => health::run(&verb),
        Verb::Demo(verb) => demo::run(&verb),
        Verb::Bench(verb) => bench::run(&verb),
        Verb::Topics(verb) => topics::run(&verb),
        Verb::Policy(verb) => policy::run(&verb),
        Verb::Terms(verb) => terms::run(&verb),
        Verb::Hold(verb) => hold::run(&verb),
        Verb::Erase(verb) => erase::run(&verb),
        Verb::Explain(verb) => explain::run(&verb),
        Verb::Forecast(verb) => forecast::run(&verb),
        Verb::Replay(verb) => replay::run(&verb),
        Verb::Rebuild(verb) => rebuild::run(&verb),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lethe: {failure}");
            failure.exit_code()
        }
    }
}

/// A runtime for the edges; the workers are threads of their own.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // HTTP and signals are little work: one thread, so that the cores belong to the workers.
    let built = builder.worker_threads(1).thread_name("lethe-edge").enable_all().build();
    built.map_err(|error| Failure::Failed(format!("threads cannot be started: {error}")))
}
