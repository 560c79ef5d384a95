//! Writing checkpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

use serde_json::{Value, json};

use super::shards::{MOST_SHARDS, read_index};
use super::{State, safetensors};
use crate::{Error, Result};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const CONFIG: &str = "config.json";

/// How a checkpoint is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveOptions {
    /// Bytes of tensors that a file holds at most: a larger checkpoint is written as several files with an index. A
    /// tensor that is larger has a file of its own.
    pub max_shard_size: u64,
}

impl Default for SaveOptions {
    /// 50 GB, as `save_pretrained` has it.
    fn default() -> Self {
        Self { max_shard_size: 50_000_000_000 }
    }
}

/// Writes the parameters and `config` into `directory`.
///
/// All files are first written to a folder of their own in there. One step then makes them the checkpoint: of one file,
/// its renaming; of several, that of the index (or, where one file stands beside it, which goes before an index, the
/// removal of that file). Files of the old checkpoint keep their names and contents up to then, and are removed after.
pub(crate) fn save(directory: &Path, state: &State, config: &Value, options: SaveOptions) -> Result<()> {
    fs::create_dir_all(directory).map_err(|error| Error::io(directory, error))?;
    let shards = split(&state.sizes(), options.max_shard_size);
    if shards.len() > MOST_SHARDS {
        let message = format!(
            "the checkpoint would be {} files of {} bytes, and at most {MOST_SHARDS} are read; allow larger ones",
            shards.len(),
            options.max_shard_size
        );
        return Err(Error::WeightsFile { path: directory.into(), message });
    }
    let staging = tempfile::Builder::new().prefix(".saving-").tempdir_in(directory);
    let staging = staging.map_err(|error| Error::io(directory, error))?;
    let names = if shards.len() == 1 { vec![WHOLE.to_owned()] } else { free_names(directory, shards.len()) };

    for (name, tensors) in names.iter().zip(&shards) {
        let tensors = tensors.iter().filter_map(|tensor| Some(((*tensor).to_owned(), state.tensor(tensor)?))).collect();
        safetensors::write_in_place(&staging.path().join(name), &tensors)?;
    }
    write_json(&staging.path().join(CONFIG), config)?;
    let sharded = shards.len() > 1;
    if sharded {
        let total: u64 = state.sizes().values().sum();
        let holder = |(name, tensors): (&String, &Vec<&str>)| {
            tensors.iter().map(|tensor| ((*tensor).to_owned(), name.clone())).collect::<Vec<_>>()
        };
        let map: BTreeMap<String, String> = names.iter().zip(&shards).flat_map(holder).collect();
        let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
        write_json(&staging.path().join(INDEX), &index)?;
    }

    let publish = |name: &str| {
        let path = directory.join(name);
        fs::rename(staging.path().join(name), &path).map_err(|error| Error::io(path, error))
    };
    names.iter().try_for_each(|name| publish(name))?;
    sync(directory)?;
    if sharded {
        publish(INDEX)?;
        sync(directory)?;
        remove(&directory.join(WHOLE))?;
    } else {
        remove(&directory.join(INDEX))?;
    }
    publish(CONFIG)?;
    remove_stale(directory, &names)
}

/// Names of tensors, in the order of `sizes`, in groups of at most `limit` bytes; a larger tensor is a group of its own.
fn split<'a>(sizes: &BTreeMap<&'a str, u64>, limit: u64) -> Vec<Vec<&'a str>> {
    let mut groups = vec![Vec::new()];
    let mut filled = 0u64;
    for (name, size) in sizes {
        match groups.last_mut() {
            Some(group) if group.is_empty() || filled.saturating_add(*size) <= limit => group.push(*name),
            _ => {
                groups.push(vec![*name]);
                filled = 0;
            }
        }
        filled = filled.saturating_add(*size);
    }
    groups
}

/// Names for `count` files that the index in `directory` does not use: `model-00001-of-00002.safetensors`, and where the
/// checkpoint that is there has these, `model-1-00001-of-00002.safetensors`.
fn free_names(directory: &Path, count: usize) -> Vec<String> {
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

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let unwritable = |error: serde_json::Error| Error::Json { path: path.into(), message: error.to_string() };
    let text = serde_json::to_string_pretty(value).map_err(unwritable)? + "\n";
    fs::write(path, text).and_then(|()| File::open(path)?.sync_all()).map_err(|error| Error::io(path, error))
}

/// Waits until the disk has the names in `directory`, so that what goes before on it goes before after a loss of power.
/// Only Unix opens a directory as a file.
fn sync(directory: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    File::open(directory).and_then(|file| file.sync_all()).map_err(|error| Error::io(directory, error))
}

/// Removes the files of earlier checkpoints of several files but `kept`.
fn remove_stale(directory: &Path, kept: &[String]) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(|error| Error::io(directory, error))? {
        let entry = entry.map_err(|error| Error::io(directory, error))?;
        let stale =
            entry.file_name().to_str().is_some_and(|name| is_shard(name) && !kept.iter().any(|kept| kept == name));
        if stale {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, error)),
        _ => Ok(()),
    }
}

/// Whether `name` is one that [`free_names`] gives.
fn is_shard(name: &str) -> bool {
    let number = |text: &str, least: usize| text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit());
    let middle = name.strip_prefix("model-").and_then(|name| name.strip_suffix(".safetensors"));
    let Some((front, count)) = middle.and_then(|middle| middle.split_once("-of-")) else { return false };
    let (round, at) = front.split_once('-').unwrap_or(("0", front));
    number(round, 1) && number(at, 5) && number(count, 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_filled_in_order() {
        let sizes = BTreeMap::from([("a", 6), ("b", 6), ("c", 2), ("d", 11), ("e", 2), ("f", 0)]);
        assert_eq!(split(&sizes, 10), [vec!["a"], vec!["b", "c"], vec!["d"], vec!["e", "f"]]);
        assert_eq!(split(&sizes, 100).len(), 1);
        assert_eq!(split(&BTreeMap::new(), 10), [Vec::<&str>::new()]);
    }

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
