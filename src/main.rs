//! The program: see `lethe --help`.

fn main() -> std::process::ExitCode {
    lethe::cli::main()
}
