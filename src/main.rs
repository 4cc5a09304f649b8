//! The program: see `lethe --help`.

/// For librdkafka and RocksDB too, which allocate most: a batch's messages are made on one thread and given
/// back thousands at once.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    lethe::cli::main()
}
