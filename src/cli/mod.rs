mod hub;
mod junit;
mod list;
mod progress;
mod report;
mod run;
mod selection;
mod show;
mod table;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Everything passed, or was not covered.
const PASSED: u8 = 0;
/// Something failed.
const FAILED: u8 = 1;
/// The command could not do what it was asked: wrong usage, or files that are not there.
const UNUSABLE: u8 = 2;

#[derive(Debug, Parser)]
#[command(name = "tch-transformers", version, about = "Hugging Face architectures in Rust, proven against Python")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run checks on the architectures of the roster, or on any folder of reference cases
    ///
    /// Exits with 0 when all passed or are not covered, 1 when something failed, 2 when it could not run.
    Verify(verify::Arguments),
    /// List the architectures of the roster by category
    List(list::Arguments),
    /// Show one architecture: entry, configuration, expected tensors, generated suite
    Show(show::Arguments),
    /// Run a model on inputs of your own
    Run(Box<run::Arguments>),
    /// Write coverage and compatibility matrix as index.html, matrix.md and matrix.json
    Report(report::Arguments),
}

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // A failure inside libtorch arrives as a panic, which the library turns into an error that is reported as such.
    std::panic::set_hook(Box::new(|_| ()));
    let ran = std::panic::catch_unwind(|| match cli.command {
        Command::Verify(arguments) => verify::run(&arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
    });
    match ran.unwrap_or_else(|_| Err(anyhow::anyhow!("internal failure"))) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(UNUSABLE)
        }
    }
}

/// Prints to standard output; a reader that has gone away (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
