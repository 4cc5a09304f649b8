# What a newcomer and CI call. Everything is built in one profile (release), so that RocksDB and librdkafka
# are compiled once.

# The cases wait more than they work.
export RUST_TEST_THREADS ?= 8

# How many seeds `make simulate` runs.
SEEDS ?= 10000

# How many kills of processes `make faults` waits for, and on how many brokers.
KILLS ?= 100
NODES ?= 3

# How many random histories of each class `make histories` draws.
HISTORIES ?= 300000

.PHONY: help demo test simulate histories mutations faults bench bench-micro instructions lint fmt prerequisites

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

prerequisites: ## Install what building and testing need (Debian; as root), or name it.
	scripts/prerequisites build kafka test

demo: ## Build lethe and watch it work on an embedded broker: no Kafka needed.
	@scripts/prerequisites build
	cargo run --release --locked -- demo

test: ## Run every test, those on real brokers (Kafka 4.1.1 and 2.8.1) included.
	@scripts/prerequisites build kafka test instructions
	cargo test --release --locked --workspace
	scripts/instructions --margin 30

simulate: ## Run SEEDS seeds of the simulation: lethe's own code against a Kafka that fails.
	@scripts/prerequisites build
	LETHE_SIMULATION_SEEDS=$(SEEDS) cargo test --release --locked -p lethe --test simulation -- --nocapture faults

faults: ## Kill, pause and wipe processes KILLS times, and the leaders of a cluster of NODES brokers, under load.
	@scripts/prerequisites build test
	LETHE_FAULTS_NODES=$(NODES) LETHE_FAULTS_KILLS=$(KILLS) \
		cargo test --release --locked -p lethe --test faults -- --nocapture

mutations: ## Break lethe in each way of tests/simulation/mutations: the simulation has to notice.
	@scripts/prerequisites build
	scripts/mutations

histories: ## Draw HISTORIES random histories of each class for the engine, against a naive model.
	LETHE_HISTORIES=$(HISTORIES) cargo test --release --locked -p lethe-engine --test random_histories

bench: ## Measure beside a pass-through; ARGS="--messages 20000 --rounds 1" is short, ARGS="expire" measures another thing.
	@scripts/prerequisites build kafka
	scripts/bench $(ARGS)

bench-micro: ## Measure decoding, keys, decisions, deltas, expiry and a worker without Kafka.
	@scripts/prerequisites build
	cargo bench --locked -p lethe --bench micro -- $(ARGS)

instructions: ## Count the instructions of the hot path and compare them with benches/instructions.txt.
	@scripts/prerequisites build instructions
	scripts/instructions $(ARGS)

lint: ## Check format, lints and documentation.
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps

fmt: ## Format the code.
	cargo fmt --all
