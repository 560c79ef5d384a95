//! The Python that is there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::{amiss, first_line};

const INSTALL: &str = "sudo apt-get install -y python3 python3-pip";

const INSTALL_FOR_REFERENCE: &str = "sudo apt-get install -y python3.11 python3-pip";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    pub program: PathBuf,
    pub version: (u32, u32),
    /// Version of its pip, where it has one.
    pub pip: Option<String>,
}

const PROBE: &str = "
import sys
try:
    from pip import __version__ as pip
except ImportError:
    pip = ''
print(sys.version_info[0], sys.version_info[1], pip)";

impl Python {
    /// `None` where `program` is missing or does not start.
    pub fn probe(program: impl AsRef<OsStr>) -> Option<Self> {
        let line = first_line(Command::new(&program).args(["-c", PROBE]))?;
        let mut words = line.split_whitespace();
        let version = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { program: PathBuf::from(program.as_ref()), version, pip: words.next().map(str::to_owned) })
    }

    /// The first of `programs` that is `oldest` or newer and has pip.
    fn first(programs: &[&str], oldest: (u32, u32), install: &str) -> Result<Self> {
        choose(programs.iter().filter_map(Self::probe).collect(), oldest, install)
    }

    /// One that can download wheels; they need not be for its own version.
    pub fn find() -> Result<Self> {
        Self::first(
            &["python3", "python3.13", "python3.12", "python3.11", "python3.14", "python3.10", "python3.9"],
            (3, 9),
            INSTALL,
        )
    }

    /// One that the pinned packages of the reference have wheels for.
    pub fn find_for_reference() -> Result<Self> {
        Self::first(&["python3.11", "python3.12", "python3.13", "python3"], (3, 11), INSTALL_FOR_REFERENCE)
    }

    pub fn pip(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]);
        command
    }

    pub fn path(&self) -> &Path {
        &self.program
    }
}

fn choose(found: Vec<Python>, oldest: (u32, u32), install: &str) -> Result<Python> {
    let Some(first) = found.first().cloned() else {
        return Err(amiss("no Python on this machine", install));
    };
    let new_enough: Vec<_> = found.into_iter().filter(|python| python.version >= oldest).collect();
    let Some(without_pip) = new_enough.first().map(|python| python.program.clone()) else {
        let ((major, minor), (least_major, least_minor)) = (first.version, oldest);
        let problem = format!("Python {major}.{minor} is too old, {least_major}.{least_minor} or newer is needed");
        return Err(amiss(problem, install));
    };
    new_enough
        .into_iter()
        .find(|python| python.pip.is_some())
        .ok_or_else(|| amiss(format!("{} has no pip", without_pip.display()), "sudo apt-get install -y python3-pip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(version: (u32, u32), pip: Option<&str>) -> Python {
        Python { program: format!("python{}.{}", version.0, version.1).into(), version, pip: pip.map(str::to_owned) }
    }

    #[test]
    fn takes_the_first_that_serves() {
        let found = vec![python((3, 8), Some("20")), python((3, 12), None), python((3, 11), Some("24.0"))];
        assert_eq!(choose(found, (3, 9), INSTALL).unwrap().version, (3, 11));
    }

    #[test]
    fn says_what_to_install() {
        let message = |found| choose(found, (3, 9), INSTALL).unwrap_err().to_string();
        assert!(message(vec![]).contains(INSTALL));
        assert!(message(vec![python((3, 8), Some("20"))]).contains("3.8 is too old"));
        assert!(message(vec![python((3, 12), None)]).ends_with("sudo apt-get install -y python3-pip"));
    }

    #[test]
    fn a_missing_program_is_no_python() {
        assert_eq!(Python::probe("/nonexistent/python"), None);
        assert_eq!(Python::probe("true"), None);
    }
}
