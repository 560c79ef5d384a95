//! From the files of a new checkpoint to the checkpoint of a folder, so that a crash leaves the old one or the new one.
//!
//! A checkpoint is two names at least, `config.json` and that of its weights, and no file system replaces two names at once.
//! What it does at once is to rename a folder. So the new files are first written to `.saving`; files of several are put
//! beside the old ones, under names that nothing refers to; and renaming `.saving` to `.saved` is the step that makes the new
//! checkpoint the folder's: this library reads what stands in `.saved` before what stands beside it. Then the files go to
//! their places, and what a crash leaves of that, the next saving does.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::shards::read_index;
use crate::{Error, Result};

pub(super) const WHOLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";
pub(super) const CONFIG: &str = "config.json";

/// The index once more, in [`SAVED`]: one is put in its place, while the other still goes before a file of the old checkpoint.
pub(super) const INDEX_TO_MOVE: &str = "model.safetensors.index.json.copy";

/// Where the files of a checkpoint are written.
const SAVING: &str = ".saving";

/// The files of a checkpoint that is whole, on the way to their places.
const SAVED: &str = ".saved";

/// The configuration of the old checkpoint, while the weights are those of neither or of both.
const OLD_CONFIG: &str = "config.json.old";

/// The file `name` of a checkpoint that was saved in `directory` and has not come to its place.
pub(super) fn on_the_way(directory: &Path, name: &str) -> Option<PathBuf> {
    Some(saved(directory)?.join(name)).filter(|path| path.is_file())
}

/// The folder that files are on the way from: one that saving has made, and no link to another.
fn saved(directory: &Path) -> Option<PathBuf> {
    let folder = directory.join(SAVED);
    fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir()).then_some(folder)
}

/// The `config.json` of the checkpoint in `directory`, which a crash of saving may have left in a folder of its own.
pub(crate) fn config_file(directory: &Path) -> PathBuf {
    on_the_way(directory, CONFIG).unwrap_or_else(|| directory.join(CONFIG))
}

/// A saving into a folder. Others wait for it, where the system can lock folders.
pub(super) struct Saving<'a> {
    directory: &'a Path,
    /// Files of the new checkpoint that stand beside the old ones before they are its.
    shards: Vec<String>,
    /// Comes before each change of the folder.
    step: &'a dyn Fn() -> Result<()>,
    _lock: Option<File>,
}

impl<'a> Saving<'a> {
    /// Ends what an earlier saving has not, and makes the folder for the files.
    pub(super) fn begin(directory: &'a Path, step: &'a dyn Fn() -> Result<()>) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| Error::io(directory, error))?;
        let lock = File::open(directory).ok().filter(|folder| folder.lock().is_ok());
        let saving = Self { directory, shards: Vec::new(), step, _lock: lock };
        let config = directory.join(CONFIG);
        if config.is_dir() {
            return Err(Error::io(config, io::ErrorKind::IsADirectory.into()));
        }
        if saved(directory).is_some() {
            saving.switch()?;
            saving.settle()?;
        }
        saving.remove_folder(SAVING)?;
        let folder = saving.path(SAVING);
        step()?;
        fs::create_dir(&folder).map_err(|error| Error::io(folder, error))?;
        Ok(saving)
    }

    /// Lets `write` write the file `name` of the new checkpoint.
    pub(super) fn file(&self, name: &str, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        (self.step)()?;
        write(&self.path(SAVING).join(name))
    }

    /// Makes the files that were written the checkpoint of the folder: those of `shards` beside an index, or one.
    ///
    /// # Errors
    /// When a file cannot be renamed or removed. Up to the step that puts the weights in their place, the old checkpoint is
    /// then the folder's still; after it, the new one is.
    pub(super) fn publish(&mut self, shards: &[String]) -> Result<()> {
        self.shards = shards.to_vec();
        for name in shards {
            self.rename(&format!("{SAVING}/{name}"), name)?;
        }
        sync(&self.path(SAVING))?;
        sync(self.directory)?;
        self.rename(SAVING, SAVED)?;
        sync(self.directory)?;
        if let Err(error) = self.switch() {
            // The error is the first one: where going back fails too, the new checkpoint stays the folder's.
            let _ = self.go_back();
            return Err(error);
        }
        self.shards.clear();
        self.settle()
    }

    /// Removes what there is of a checkpoint that has not become the folder's.
    pub(super) fn abandon(&self) {
        // What cannot be removed is left to the next saving.
        let _ = self.remove_folder(SAVING);
        if saved(self.directory).is_none() {
            let _ = self.shards.iter().try_for_each(|name| self.remove(name));
        }
    }

    /// Replaces the weights in one step, the last one. Where it changes, the configuration is away meanwhile: others than this
    /// library then find none instead of one that belongs to other weights.
    fn switch(&self) -> Result<()> {
        let new = fs::read(self.path(SAVED).join(CONFIG)).ok();
        if new.is_some_and(|new| fs::read(self.path(CONFIG)).is_ok_and(|old| old != new)) {
            self.rename(CONFIG, &format!("{SAVED}/{OLD_CONFIG}"))?;
        }
        if !self.is_saved(INDEX) {
            return if self.is_saved(WHOLE) { self.rename(&format!("{SAVED}/{WHOLE}"), WHOLE) } else { Ok(()) };
        }
        if self.is_saved(INDEX_TO_MOVE) {
            self.rename(&format!("{SAVED}/{INDEX_TO_MOVE}"), INDEX)?;
        }
        // One file goes before an index: where there is one, its removal is the step.
        if self.path(WHOLE).exists() {
            sync(self.directory)?;
            self.remove(WHOLE)?;
        }
        Ok(())
    }

    /// Undoes [`Saving::switch`], whose last step has not come about.
    fn go_back(&self) -> Result<()> {
        if self.is_saved(OLD_CONFIG) {
            self.rename(&format!("{SAVED}/{OLD_CONFIG}"), CONFIG)?;
        }
        if self.is_saved(INDEX) && !self.is_saved(INDEX_TO_MOVE) {
            self.remove(INDEX)?;
        }
        self.rename(SAVED, SAVING)
    }

    /// What follows once the weights are in their place: the configuration, and the end of the old checkpoint's files.
    fn settle(&self) -> Result<()> {
        let is_whole = !self.is_saved(INDEX);
        if self.is_saved(CONFIG) {
            self.rename(&format!("{SAVED}/{CONFIG}"), CONFIG)?;
        }
        sync(self.directory)?;
        self.rename(SAVED, SAVING)?;
        self.remove_folder(SAVING)?;
        if is_whole {
            self.remove(INDEX)?;
            return self.remove_shards(&BTreeSet::new());
        }
        self.remove_shards(&read_index(&self.path(INDEX))?.into_values().collect())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn is_saved(&self, name: &str) -> bool {
        on_the_way(self.directory, name).is_some()
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        (self.step)()?;
        let path = self.path(to);
        fs::rename(self.path(from), &path).map_err(|error| Error::io(path, error))
    }

    /// Removes a file, where there is one.
    fn remove(&self, name: &str) -> Result<()> {
        self.remove_by(name, |path| fs::remove_file(path))
    }

    /// Removes a folder with its files, where there is one.
    fn remove_folder(&self, name: &str) -> Result<()> {
        self.remove_by(name, |path| fs::remove_dir_all(path))
    }

    fn remove_by(&self, name: &str, remove: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
        let path = self.path(name);
        if fs::symlink_metadata(&path).is_err() {
            return Ok(());
        }
        (self.step)()?;
        remove(&path).map_err(|error| Error::io(path, error))
    }

    /// Removes the files of checkpoints of several files but `kept`.
    fn remove_shards(&self, kept: &BTreeSet<String>) -> Result<()> {
        for entry in fs::read_dir(self.directory).map_err(|error| Error::io(self.directory, error))? {
            let entry = entry.map_err(|error| Error::io(self.directory, error))?;
            if let Some(name) = entry.file_name().to_str().filter(|name| is_shard(name) && !kept.contains(*name)) {
                self.remove(name)?;
            }
        }
        Ok(())
    }
}

/// Names for `count` files that the index in `directory` does not use: `model-00001-of-00002.safetensors`, and where the
/// checkpoint that is there has these, `model-1-00001-of-00002.safetensors`.
pub(super) fn free_names(directory: &Path, count: usize) -> Vec<String> {
    let used: BTreeSet<String> = read_index(&directory.join(INDEX)).unwrap_or_default().into_values().collect();
    let names = |round: usize| -> Vec<String> {
        let round = if round == 0 { String::new() } else { format!("-{round}") };
        (1..=count).map(|at| format!("model{round}-{at:05}-of-{count:05}.safetensors")).collect()
    };
    let mut round = 0;
    while names(round).iter().any(|name| used.contains(name)) {
        round += 1;
    }
    names(round)
}

/// Whether `name` is one that [`free_names`] gives.
fn is_shard(name: &str) -> bool {
    let number = |text: &str, least: usize| text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit());
    let middle = name.strip_prefix("model-").and_then(|name| name.strip_suffix(".safetensors"));
    let Some((front, count)) = middle.and_then(|middle| middle.split_once("-of-")) else { return false };
    let (round, at) = front.split_once('-').unwrap_or(("0", front));
    number(round, 1) && number(at, 5) && number(count, 5)
}

/// Waits until the disk has the names in `directory`, so that what goes before on it goes before after a loss of power.
/// Only Unix opens a directory as a file.
fn sync(directory: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    File::open(directory).and_then(|file| file.sync_all()).map_err(|error| Error::io(directory, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shards_are_stale() {
        for name in ["model-00001-of-00002.safetensors", "model-12-00001-of-00002.safetensors"] {
            assert!(is_shard(name), "{name}");
        }
        for name in [
            "model.safetensors",
            "model.fp16-00001-of-00002.safetensors",
            "model-00001-of-00002.bin",
            "model-lora-00001-of-00002.safetensors",
            "model-1-of-2.safetensors",
            "adapter_model-00001-of-00002.safetensors",
        ] {
            assert!(!is_shard(name), "{name}");
        }
    }
}
