//! The command: verifies architectures and checkpoints, lists and shows the roster, and writes the report.
#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
