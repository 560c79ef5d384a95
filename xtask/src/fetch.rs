//! Where wheels come from.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow};

use crate::hash;
use crate::pins::{PYTHON, Pin};
use crate::process::{amiss, run_heard};
use crate::python::Python;

pub trait Fetch {
    /// Leaves the wheel of `pin` in the folder `to`; what is in `scratch` may be deleted at any time.
    fn fetch(&self, pin: &Pin, to: &Path, scratch: &Path) -> Result<()>;
}

pub struct Pip {
    python: Python,
    arch: String,
    options: Vec<OsString>,
}

impl Pip {
    pub fn new(python: Python, arch: &str) -> Self {
        Self { python, arch: arch.to_owned(), options: Vec::new() }
    }

    #[cfg(test)]
    pub fn with_options(mut self, options: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }
}

/// pip takes a platform literally: a wheel tagged for an older glibc is found only where that tag is named.
fn platforms(arch: &str) -> impl Iterator<Item = String> {
    (5..=28)
        .rev()
        .map(move |minor| format!("manylinux_2_{minor}_{arch}"))
        .chain(["manylinux2014", "linux"].map(|tag| format!("{tag}_{arch}")))
}

impl Fetch for Pip {
    fn fetch(&self, pin: &Pin, to: &Path, scratch: &Path) -> Result<()> {
        let requirements = scratch.join(format!("{}.txt", pin.id()));
        fs::write(&requirements, pin.requirement())
            .with_context(|| format!("cannot write {}", requirements.display()))?;
        let mut command = self.python.pip();
        command
            .args(["download", "--no-deps", "--no-cache-dir", "--require-hashes", "--only-binary", ":all:"])
            .args(["--implementation", "cp", "--python-version", PYTHON])
            .args(platforms(&self.arch).flat_map(|platform| ["--platform".to_owned(), platform]))
            .args(&self.options)
            .arg("--dest")
            .arg(to)
            .arg("--requirement")
            .arg(&requirements)
            .env("TMPDIR", scratch)
            .env("PIP_RESUME_RETRIES", "5");
        let (status, heard) = run_heard(&mut command)?;
        if status.success() { Ok(()) } else { Err(explain(&format!("{} was not downloaded", pin.id()), &heard)) }
    }
}

/// Why pip failed, from what it said.
pub fn explain(failure: &str, heard: &str) -> Error {
    let says = |words: &[&str]| words.iter().any(|word| heard.contains(word));
    if says(&["No space left on device", "Disk quota exceeded"]) {
        amiss(format!("{failure}: the disk is full"), "free some space, then run the same command again")
    } else if says(&["SSLError", "CERTIFICATE_VERIFY_FAILED"]) {
        amiss(
            format!("{failure}: the package index's certificate is not accepted"),
            "export PIP_CERT=<your network's CA file>, then run the same command again",
        )
    } else if says(&[
        "NewConnectionError",
        "ConnectTimeout",
        "ProxyError",
        "name resolution",
        "Retrying (",
        "timed out",
    ]) {
        amiss(
            format!("{failure}: no connection to the package index"),
            "go online (HTTPS_PROXY and PIP_INDEX_URL are honoured), then run the same command again",
        )
    } else if says(&["DO NOT MATCH THE HASHES"]) {
        anyhow!("{failure}: what the package index offers does not have the pinned hash")
    } else {
        anyhow!("{failure}: pip's messages are above")
    }
}

/// The wheel of `pin` in `folder`, if it is whole.
fn whole(pin: &Pin, folder: &Path) -> Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(None) };
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "whl") && hash::of_file(&path)? == pin.sha256 {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The wheel of `pin` below `wheels`: the one an earlier run left there if it is whole, otherwise a fresh one.
pub fn wheel(fetch: &dyn Fetch, pin: &Pin, wheels: &Path, scratch: &Path) -> Result<PathBuf> {
    let folder = wheels.join(pin.id());
    if let Some(path) = whole(pin, &folder)? {
        return Ok(path);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fetch.fetch(pin, &folder, scratch)?;
    whole(pin, &folder)?
        .with_context(|| format!("the wheel of {} is not the pinned one; nothing was installed", pin.id()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Fake {
        content: &'static str,
        calls: Cell<usize>,
    }

    impl Fake {
        fn new(content: &'static str) -> Self {
            Self { content, calls: Cell::new(0) }
        }
    }

    impl Fetch for Fake {
        fn fetch(&self, _pin: &Pin, to: &Path, _scratch: &Path) -> Result<()> {
            self.calls.set(self.calls.get() + 1);
            Ok(fs::write(to.join("a.whl"), self.content)?)
        }
    }

    fn pin() -> Pin {
        Pin { name: "a".to_owned(), version: "1".to_owned(), sha256: hash::of_bytes(b"whole wheel") }
    }

    #[test]
    fn a_whole_wheel_is_fetched_once() {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::new("whole wheel");
        for _ in 0..2 {
            wheel(&fake, &pin(), folder.path(), folder.path()).unwrap();
        }
        assert_eq!(fake.calls.get(), 1);
    }

    #[test]
    fn half_a_wheel_is_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a-1")).unwrap();
        fs::write(folder.path().join("a-1/a.whl"), "whole wh").unwrap();
        let fake = Fake::new("whole wheel");
        let path = wheel(&fake, &pin(), folder.path(), folder.path()).unwrap();
        assert_eq!((fake.calls.get(), fs::read_to_string(path).unwrap().as_str()), (1, "whole wheel"));
    }

    #[test]
    fn a_wheel_of_another_hash_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = wheel(&Fake::new("other"), &pin(), folder.path(), folder.path()).unwrap_err();
        assert!(error.to_string().contains("not the pinned one"), "{error}");
    }

    #[test]
    fn pip_failures_are_explained() {
        let explained = |heard| explain("a", heard).to_string();
        assert!(explained("OSError: [Errno 28] No space left on device").contains("disk is full"));
        assert!(explained("WARNING: Retrying (Retry(total=4 ... name resolution").contains("no connection"));
        assert!(explained("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES").contains("pinned hash"));
        assert!(explained("something else").contains("messages are above"));
    }
}
