//! The virtual environment `.reference`, with the packages that `reference/requirements.lock` pins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::fetch::explain;
use crate::files::remove;
use crate::hash;
use crate::lock::Lock;
use crate::process::{hand_over, run_heard};
use crate::python::Python;

const FOLDER: &str = ".reference";
const LOCK: &str = "reference/requirements.lock";
/// Written last into the environment: the hash of the requirements it holds.
const STAMP: &str = "requirements.sha256";

pub fn run(root: &Path, args: &[String]) -> Result<ExitCode> {
    let python = ensure_environment(root)?;
    let own = args.iter().any(|argument| argument.starts_with("--checkpoint"));
    let script = root.join("reference").join(if own { "make_case.py" } else { "make_cases.py" });
    ensure!(script.exists(), "{} is missing", script.display());
    hand_over(Command::new(python).arg(script).args(args).current_dir(root))
}

/// The Python of `.reference`, which is made where it is missing or the pinned packages changed.
pub fn ensure_environment(root: &Path) -> Result<PathBuf> {
    let lock = root.join(LOCK);
    ensure!(lock.exists(), "{} is missing", lock.display());
    let wanted = hash::of_file(&lock)?;
    let folder = root.join(FOLDER);
    let interpreter = folder.join("bin/python");
    let _lock = Lock::acquire(&root.join(format!("{FOLDER}.lock")))?;
    if is_fresh(&folder, &wanted) {
        return Ok(interpreter);
    }
    let python = Python::find_for_reference()?;
    eprintln!("making {} with {}", folder.display(), python.path().display());
    // What an earlier run downloaded stays in the cache; an environment without its stamp is not trusted.
    let partial = root.join(format!("{FOLDER}.partial"));
    let (cache, scratch) = (partial.join("cache"), partial.join("scratch"));
    for stale in [&folder, &scratch] {
        remove(stale)?;
    }
    for new in [&cache, &scratch] {
        fs::create_dir_all(new).with_context(|| format!("cannot create {}", new.display()))?;
    }
    let bootstrap = pip_wheel(&python, &cache, &scratch)?;
    // Debian's Python makes no environment with pip unless python3-venv is there; the wheel stands in for it.
    step(Command::new(python.path()).args(["-m", "venv", "--without-pip"]).arg(&folder), "make a virtual environment")?;
    let mut install_pip = Command::new(&interpreter);
    install_pip.arg(bootstrap.join("pip")).args(["install", "--quiet", "--no-index"]).arg(&bootstrap);
    step(install_pip.env("TMPDIR", &scratch), "install pip")?;
    let mut install = Command::new(&interpreter);
    install.args(["-m", "pip", "--disable-pip-version-check", "--no-input", "--cache-dir"]).arg(&cache);
    install.args(["install", "--requirement"]).arg(&lock).env("TMPDIR", &scratch);
    step(&mut install, "install the packages of reference/requirements.lock")?;
    let stamp = folder.join(STAMP);
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    remove(&partial)?;
    Ok(interpreter)
}

fn is_fresh(folder: &Path, wanted: &str) -> bool {
    fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp == wanted)
        && Python::probe(folder.join("bin/python")).is_some()
}

/// Downloads pip itself, as a wheel that Python can run as it is.
fn pip_wheel(python: &Python, cache: &Path, scratch: &Path) -> Result<PathBuf> {
    let mut command = python.pip();
    command.args(["download", "--quiet", "--no-deps", "--only-binary", ":all:", "pip", "--cache-dir"]).arg(cache);
    step(command.arg("--dest").arg(scratch).env("TMPDIR", scratch), "download pip")?;
    fs::read_dir(scratch)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip downloaded no pip")
}

fn step(command: &mut Command, what: &str) -> Result<()> {
    let (status, heard) = run_heard(command)?;
    if status.success() { Ok(()) } else { Err(explain(&format!("cannot {what}"), &heard)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_only_with_its_stamp_and_interpreter() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(FOLDER);
        fs::create_dir_all(folder.join("bin")).unwrap();
        assert!(!is_fresh(&folder, "00"));
        fs::write(folder.join(STAMP), "00").unwrap();
        assert!(!is_fresh(&folder, "00"));
        let python = Python::find_for_reference().unwrap();
        let script = format!("#!/bin/sh\nexec {} \"$@\"\n", python.path().display());
        fs::write(folder.join("bin/python"), script).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.join("bin/python"), executable).unwrap();
        assert!(is_fresh(&folder, "00"));
        assert!(!is_fresh(&folder, "01"));
    }

    #[test]
    fn missing_requirements_are_named() {
        let root = tempfile::tempdir().unwrap();
        assert!(ensure_environment(root.path()).unwrap_err().to_string().contains(LOCK));
    }
}
