//! The C and C++ compilers, found as the `cc` crate finds them.

use std::env;
use std::process::Command;

use anyhow::Result;

use crate::process::{amiss, first_line};

pub const INSTALL: &str = "sudo apt-get install -y g++";

fn command(variable: &str, default: &str) -> Command {
    let value = env::var(variable).ok().filter(|value| !value.trim().is_empty()).unwrap_or_else(|| default.to_owned());
    let mut words = value.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or(default));
    command.args(words);
    command
}

pub fn cc() -> Command {
    command("CC", "cc")
}

pub fn cxx() -> Command {
    command("CXX", "c++")
}

/// First line of `c++ --version`.
pub fn cxx_version() -> Option<String> {
    first_line(cxx().arg("--version"))
}

pub fn require() -> Result<()> {
    if cxx_version().is_none() || first_line(cc().arg("--version")).is_none() {
        let program = cxx().get_program().to_string_lossy().into_owned();
        return Err(amiss(format!("no C++ compiler ({program})"), INSTALL));
    }
    Ok(())
}
