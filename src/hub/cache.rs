//! The cache that Python's `huggingface_hub` uses too: contents by hash, and per commit a folder of links to them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::HubError;
use super::name::{RepoId, is_hash, stays_below};
use crate::{Error, Result};

/// The part of the cache that belongs to one repository.
#[derive(Debug)]
pub(super) struct RepoCache {
    /// The whole cache.
    all: PathBuf,
    /// Where the locks are.
    locks: PathBuf,
    /// `blobs`, `refs` and `snapshots` are in it.
    folder: PathBuf,
}

impl RepoCache {
    pub fn new(cache: &Path, repo: &RepoId) -> Self {
        let name = repo.folder();
        Self { all: cache.into(), locks: cache.join(".locks").join(&name), folder: cache.join(name) }
    }

    /// That the cache cannot be written.
    pub fn unwritable(&self, cause: io::Error) -> Error {
        Error::hub(HubError::Cache { cache: self.all.clone(), cause })
    }

    /// The commit that `revision` was when it was last asked for; a commit is itself.
    pub fn commit(&self, revision: &str) -> Option<String> {
        if is_hash(revision) && self.snapshot(revision).is_dir() {
            return Some(revision.to_owned());
        }
        let commit = stays_below(revision).then(|| fs::read_to_string(self.folder.join("refs").join(revision)).ok())?;
        commit.map(|commit| commit.trim().to_owned()).filter(|commit| is_hash(commit))
    }

    /// Remembers that `revision` is `commit` now.
    pub fn remember(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit || !stays_below(revision) || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        replace(&path, |path| fs::write(path, commit)).map_err(|error| self.unwritable(error))
    }

    /// The folder of the files of `commit`.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Where the content of that hash is, or will be.
    pub fn blob(&self, hash: &str) -> PathBuf {
        self.folder.join("blobs").join(hash)
    }

    /// Waits until no other process fetches the content of that hash; `huggingface_hub` locks the same file.
    pub fn lock(&self, hash: &str) -> Result<File> {
        let path = self.locks.join(format!("{hash}.lock"));
        let locked = fs::create_dir_all(&self.locks).and_then(|()| File::create(path)).and_then(|file| {
            file.lock()?;
            Ok(file)
        });
        locked.map_err(|error| self.unwritable(error))
    }

    /// Makes `file` of `commit` the content of that hash.
    pub fn link(&self, commit: &str, file: &str, hash: &str) -> Result<()> {
        let depth = Path::new(file).components().count() + 1;
        let target = "../".repeat(depth) + "blobs/" + hash;
        let linked = replace(&self.snapshot(commit).join(file), |path| link(&target, &self.blob(hash), path));
        linked.map_err(|error| self.unwritable(error))
    }
}

#[cfg(unix)]
fn link(target: &str, _blob: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn link(_target: &str, blob: &Path, path: &Path) -> io::Result<()> {
    fs::copy(blob, path).map(drop)
}

/// Writes `path` by way of a temporary name beside it, so that others see it whole or not at all.
fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.{:?}", std::process::id(), std::thread::current().id()));
    let replaced =
        fs::create_dir_all(folder).and_then(|()| write(&temporary)).and_then(|()| fs::rename(&temporary, path));
    replaced.inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_links_that_python_would_make() {
        let home = tempfile::tempdir().unwrap();
        let cache = RepoCache::new(home.path(), &RepoId::parse("a/b").unwrap());
        let (commit, hash) = ("c".repeat(40), "d".repeat(64));
        fs::create_dir_all(cache.blob(&hash).parent().unwrap()).unwrap();
        fs::write(cache.blob(&hash), "content").unwrap();
        for file in ["config.json", "1_Pooling/config.json"] {
            cache.link(&commit, file, &hash).unwrap();
            assert_eq!(fs::read_to_string(cache.snapshot(&commit).join(file)).unwrap(), "content");
        }
        let target = fs::read_link(cache.snapshot(&commit).join("config.json")).unwrap();
        assert_eq!(target, Path::new("../../blobs").join(&hash));
        assert_eq!(cache.commit("main"), None);
        cache.remember("main", &commit).unwrap();
        cache.remember("refs/pr/1", &commit).unwrap();
        cache.remember("../../../escaped", &commit).unwrap();
        assert_eq!(cache.commit("main").as_deref(), Some(&*commit));
        assert_eq!(cache.commit("refs/pr/1").as_deref(), Some(&*commit));
        assert_eq!(cache.commit(&commit).as_deref(), Some(&*commit));
        assert_eq!(cache.commit("../../../escaped"), None);
        assert!(home.path().join("models--a--b/refs/main").is_file());
    }
}
