//! cargo commands on a machine that is set up first.

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::libtorch::{self, Source};
use crate::pins::Flavour;
use crate::process::hand_over;
use crate::reference;

/// cargo in `root`, with the environment that the user gave.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    for (variable, _) in env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    if Source::of_environment(root) == Source::Installed {
        // Set by cargo from .cargo/config.toml; the cargo that is started does the same.
        command.env_remove("LIBTORCH");
    }
    command
}

pub fn verify(root: &Path, flavour: Option<Flavour>, args: &[String]) -> Result<ExitCode> {
    libtorch::ensure(root, flavour)?;
    let mut command = cargo(root);
    command.args(["run", "--release", "--package", "tch-transformers", "--bin", "tch-transformers", "--", "verify"]);
    if !args.iter().any(|arg| arg == "--report" || arg.starts_with("--report=")) {
        command.arg("--report").arg(root.join("target/report"));
    }
    hand_over(command.args(args))
}

pub fn test(root: &Path, flavour: Option<Flavour>, args: &[String]) -> Result<ExitCode> {
    libtorch::ensure(root, flavour)?;
    hand_over(cargo(root).args(["test", "--workspace"]).args(args))
}

pub fn bench(root: &Path, flavour: Option<Flavour>, args: &[String]) -> Result<ExitCode> {
    libtorch::ensure(root, flavour)?;
    hand_over(cargo(root).args(["bench", "--package", "tch-transformers"]).args(args))
}

/// Hands `benches/versus.rs` the Python of `.reference`.
pub fn bench_against_python(root: &Path, flavour: Option<Flavour>, args: &[String]) -> Result<ExitCode> {
    libtorch::ensure(root, flavour)?;
    let python = reference::ensure_environment(root)?;
    let mut command = cargo(root);
    command.args(["bench", "--package", "tch-transformers", "--bench", "versus", "--", "--python"]);
    hand_over(command.arg(python).args(args))
}
