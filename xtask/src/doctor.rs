//! What is found on this machine, what is amiss, and what mends it.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::libtorch::{self, Source};
use crate::process::{amiss, first_line, output};
use crate::python::Python;
use crate::toolchain;

/// What was found, or what is amiss and the command that mends it.
type Finding = Result<String>;

pub fn doctor(root: &Path) -> ExitCode {
    let source = Source::of_environment(root);
    let libtorch = libtorch::find_whole(root, &source);
    let cuda = libtorch.as_ref().is_ok_and(libtorch::Found::has_cuda);
    // Python is there to install libtorch, and for `cargo xtask reference`.
    let python = match python() {
        Err(why) if libtorch.is_ok() => Ok(format!("none, needed for `cargo xtask reference` only ({why:#})")),
        finding => finding,
    };
    let findings = [
        ("Rust", rust()),
        ("C++ compiler", toolchain::require().map(|()| toolchain::cxx_version().unwrap_or_default())),
        ("Python", python),
        ("libtorch", libtorch.map(|found| found.to_string())),
        ("CPU", Ok(cpu())),
        ("GPU", Ok(gpu(cuda))),
    ];
    let mut status = ExitCode::SUCCESS;
    for (name, finding) in findings {
        match finding {
            Ok(found) => println!("ok     {name:<13} {found}"),
            Err(why) => {
                println!("AMISS  {name:<13} {why:#}");
                status = ExitCode::FAILURE;
            }
        }
    }
    status
}

fn rust() -> Finding {
    let found = first_line(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version"));
    judge_rust(found.as_deref(), env!("CARGO_PKG_RUST_VERSION"))
}

fn judge_rust(found: Option<&str>, wanted: &str) -> Finding {
    let numbers = |version: &str| version.split('.').map_while(|part| part.parse::<u32>().ok()).collect::<Vec<_>>();
    let Some(found) = found else {
        return Err(amiss("no rustc", "curl -sSf https://sh.rustup.rs | sh"));
    };
    let version = found.split_whitespace().nth(1).unwrap_or_default();
    if numbers(version) < numbers(wanted) {
        return Err(amiss(format!("{found}, but {wanted} or newer is needed"), "rustup update stable"));
    }
    Ok(found.to_owned())
}

fn python() -> Finding {
    let python = Python::find()?;
    let (major, minor) = python.version;
    Ok(format!("{} {major}.{minor}, pip {}", python.path().display(), python.pip.as_deref().unwrap_or("?")))
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or(env::consts::ARCH, |(_, model)| model.trim());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {threads} threads")
}

fn gpu(libtorch_has_cuda: bool) -> String {
    let query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
    let found = output(Command::new("nvidia-smi").args(query)).unwrap_or_default();
    let gpus = found.lines().collect::<Vec<_>>().join("; ");
    match (gpus.as_str(), libtorch_has_cuda) {
        ("", true) => "no CUDA device (libtorch has CUDA)".to_owned(),
        ("", false) => "no CUDA device".to_owned(),
        (_, true) => gpus,
        (_, false) => format!("{gpus} (not used: libtorch has no CUDA; `cargo xtask setup --cuda` installs it)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_missing_rust_are_amiss() {
        assert!(judge_rust(Some("rustc 1.95.0 (f2d3ce0bd 2026-03-21)"), "1.95").is_ok());
        assert!(judge_rust(Some("rustc 1.100.0-nightly"), "1.95").is_ok());
        assert!(judge_rust(Some("rustc 1.94.1"), "1.95").unwrap_err().to_string().contains("rustup update"));
        assert!(judge_rust(None, "1.95").unwrap_err().to_string().contains("rustup.rs"));
    }
}
