//! Everything a developer runs: `cargo xtask <command>`.

#![forbid(unsafe_code)]

mod cargo;
mod config;
mod doctor;
mod elf;
mod fetch;
mod files;
mod hash;
mod libtorch;
mod lock;
mod manifest;
mod pins;
mod process;
mod python;
mod reference;
mod stamp;
mod status;
#[cfg(test)]
mod testing;
mod toolchain;
mod wheel;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::pins::Flavour;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Set-up, tests and upkeep of tch-transformers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install libtorch into .libtorch, from PyPI's wheels, unless it is there
    Setup {
        #[command(flatten)]
        libtorch: Libtorch,
    },
    /// Set up what is missing, then prove every architecture on this machine; the report goes to target/report
    Verify {
        #[command(flatten)]
        libtorch: Libtorch,
        /// Passed on to `tch-transformers verify`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Set up what is missing, then run the tests of the whole workspace
    Test {
        #[command(flatten)]
        libtorch: Libtorch,
        /// Passed on to `cargo test --workspace`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Set up what is missing, then run the benchmarks
    Bench {
        #[command(flatten)]
        libtorch: Libtorch,
        /// Times every row against Python transformers, instead of against the last run
        #[arg(long, value_enum)]
        against: Option<Peer>,
        /// Passed on to the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Print the .cargo/config.toml of a project elsewhere that depends on this one
    Config,
    /// Print what is found on this machine, what is amiss, and the command that mends it
    Doctor,
    /// Make reference cases with Python transformers, in the virtual environment .reference
    Reference {
        /// Passed on to reference/make_cases.py, or with `--checkpoint` to reference/make_case.py
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Write cases/MANIFEST.sha256, the hash of every file of a reference case
    Manifest {
        /// Write nothing; fail where the manifest differs from the files
        #[arg(long)]
        check: bool,
    },
    /// Write the coverage that the last report computed into README.md
    Status {
        /// Write nothing; fail where README.md says something else
        #[arg(long)]
        check: bool,
    },
}

/// What a benchmark is compared with.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Peer {
    Python,
}

#[derive(Args)]
struct Libtorch {
    /// Install libtorch with CUDA (2.5 GB to download)
    #[arg(long)]
    cuda: bool,
}

impl Libtorch {
    /// `None` accepts whichever is installed.
    fn flavour(&self) -> Option<Flavour> {
        self.cuda.then_some(Flavour::Cuda)
    }
}

/// The repository's root: where `cargo run` finds the package, even after the folder was moved.
fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), PathBuf::from)
}

fn run(command: Command) -> Result<ExitCode> {
    let root = root();
    match command {
        Command::Setup { libtorch } => {
            libtorch::ensure(&root, libtorch.flavour())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify { libtorch, args } => cargo::verify(&root, libtorch.flavour(), &args),
        Command::Test { libtorch, args } => cargo::test(&root, libtorch.flavour(), &args),
        Command::Bench { libtorch, against: None, args } => cargo::bench(&root, libtorch.flavour(), &args),
        Command::Bench { libtorch, against: Some(Peer::Python), args } => {
            cargo::bench_against_python(&root, libtorch.flavour(), &args)
        }
        Command::Config => {
            print!("{}", config::text(&root)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor => Ok(doctor::doctor(&root)),
        Command::Reference { args } => reference::run(&root, &args),
        Command::Manifest { check } => manifest::run(&root, check),
        Command::Status { check } => status::run(&root, check),
    }
}

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
