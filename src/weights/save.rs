//! Writing checkpoints.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use serde_json::{Value, json};

use super::publish::{CONFIG, INDEX, INDEX_TO_MOVE, Saving, WHOLE, free_names};
use super::shards::MOST_SHARDS;
use super::{State, safetensors};
use crate::{Error, Result};

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

/// Writes the parameters and `config` into `directory`, as [`Model::save_with`](crate::Model::save_with) says.
pub(crate) fn save(directory: &Path, state: &State, config: &Value, options: SaveOptions) -> Result<()> {
    save_by_steps(directory, state, config, options, &|| Ok(()))
}

/// As [`save`]; `step` comes before each change of the folder.
fn save_by_steps(
    directory: &Path,
    state: &State,
    config: &Value,
    options: SaveOptions,
    step: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let shards = split(&state.sizes(), options.max_shard_size);
    if shards.len() > MOST_SHARDS {
        let message = format!(
            "the checkpoint would be {} files of {} bytes, and at most {MOST_SHARDS} are read; allow larger ones",
            shards.len(),
            options.max_shard_size
        );
        return Err(Error::WeightsFile { path: directory.into(), message });
    }
    let mut saving = Saving::begin(directory, step)?;
    let written = write(&mut saving, directory, state, config, &shards);
    if written.is_err() {
        saving.abandon();
    }
    written
}

/// Writes the files of the checkpoint and makes them that of the folder.
fn write(saving: &mut Saving, directory: &Path, state: &State, config: &Value, shards: &[Vec<&str>]) -> Result<()> {
    let names = if shards.len() == 1 { vec![WHOLE.to_owned()] } else { free_names(directory, shards.len()) };
    for (name, tensors) in names.iter().zip(shards) {
        let tensors = tensors.iter().filter_map(|tensor| Some(((*tensor).to_owned(), state.tensor(tensor)?))).collect();
        saving.file(name, |path| safetensors::write_in_place(path, &tensors))?;
    }
    saving.file(CONFIG, |path| write_json(path, config))?;
    if shards.len() == 1 {
        return saving.publish(&[]);
    }
    let total: u64 = state.sizes().values().sum();
    let holder = |(name, tensors): (&String, &Vec<&str>)| {
        tensors.iter().map(|tensor| ((*tensor).to_owned(), name.clone())).collect::<Vec<_>>()
    };
    let map: BTreeMap<String, String> = names.iter().zip(shards).flat_map(holder).collect();
    let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
    saving.file(INDEX, |path| write_json(path, &index))?;
    saving.file(INDEX_TO_MOVE, |path| write_json(path, &index))?;
    saving.publish(&names)
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

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let unwritable = |error: serde_json::Error| Error::Json { path: path.into(), message: error.to_string() };
    let text = serde_json::to_string_pretty(value).map_err(unwritable)? + "\n";
    fs::write(path, text).and_then(|()| File::open(path)?.sync_all()).map_err(|error| Error::io(path, error))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::weights::state::Piece;
    use crate::weights::{TensorSource, config_file};

    #[test]
    fn groups_are_filled_in_order() {
        let sizes = BTreeMap::from([("a", 6), ("b", 6), ("c", 2), ("d", 11), ("e", 2), ("f", 0)]);
        assert_eq!(split(&sizes, 10), [vec!["a"], vec!["b", "c"], vec!["d"], vec!["e", "f"]]);
        assert_eq!(split(&sizes, 100).len(), 1);
        assert_eq!(split(&BTreeMap::new(), 10), [Vec::<&str>::new()]);
    }

    const SEVERAL: SaveOptions = SaveOptions { max_shard_size: 32 };
    const ONE: SaveOptions = SaveOptions { max_shard_size: 1000 };

    /// How a saving ends before its time.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum End {
        /// As when the process is killed: nothing is tidied up.
        Crash,
        /// As when the file system refuses one thing.
        Failure,
    }

    struct Crash;

    /// Saves tensors that are all `value`, and a configuration that says `config`, and ends as told before a step; whether
    /// there were so many.
    fn save_up_to(folder: &Path, value: i64, config: i64, options: SaveOptions, (steps, end): (usize, End)) -> bool {
        let mut state = State::default();
        for name in ["a", "b", "c", "d"] {
            let tensor = Tensor::full([4], value, (Kind::Float, Device::Cpu));
            state.add(name, 0, (1, false), Piece::from(&tensor));
        }
        let count = Cell::new(0);
        let step = || {
            let number = count.replace(count.get() + 1);
            match end {
                _ if number != steps => Ok(()),
                End::Crash => resume_unwind(Box::new(Crash)),
                End::Failure => Err(Error::io(folder, std::io::ErrorKind::StorageFull.into())),
            }
        };
        let save = || save_by_steps(folder, &state, &json!({ "config": config }), options, &step);
        match catch_unwind(AssertUnwindSafe(save)) {
            Ok(Ok(())) => false,
            Ok(Err(Error::Io { .. })) if end == End::Failure => true,
            Err(panic) if end == End::Crash && panic.is::<Crash>() => true,
            other => panic!("{other:?}"),
        }
    }

    fn save(folder: &Path, value: i64, config: i64, options: SaveOptions) {
        assert!(!save_up_to(folder, value, config, options, (usize::MAX, End::Failure)));
    }

    /// What the configuration says, and what all of the tensors are.
    fn found(folder: &Path) -> Result<(i64, i64)> {
        let config = crate::config::read_json(&config_file(folder))?;
        let tensors = TensorSource::open(folder)?.into_memory()?;
        let values: BTreeSet<i64> = tensors
            .values()
            .flat_map(|tensor| Vec::<f32>::try_from(tensor).unwrap())
            .map(|value| value as i64)
            .collect();
        assert!(tensors.keys().eq(["a", "b", "c", "d"]) && values.len() == 1, "{values:?}");
        Ok((config["config"].as_i64().unwrap(), *values.first().unwrap()))
    }

    /// As [`found`], by a program that does not know what a saving leaves.
    fn found_by_others(folder: &Path) -> Result<(i64, i64)> {
        let (saved, hidden) = (folder.join(".saved"), folder.join("hidden"));
        let hides = fs::rename(&saved, &hidden).is_ok();
        let found = found(folder);
        if hides {
            fs::rename(&hidden, &saved).unwrap();
        }
        found
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Ends a saving before each of its steps and looks at what is there; `old` says what the checkpoint before was like.
    fn ends_anywhere(old: Option<SaveOptions>, new: SaveOptions, (old_config, new_config): (i64, i64), end: End) {
        let (was, is) = ((old_config, 1), (new_config, 2));
        let mut replaced = false;
        for steps in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            old.into_iter().for_each(|old| save(folder, 1, old_config, old));
            let ended = save_up_to(folder, 2, new_config, new, (steps, end));
            let place = format!("{old:?} {new:?} {was:?} {is:?} {end:?} before step {steps}: {:?}", names(folder));
            // Files that nobody waited for are lost with the power.
            for name in fs::read_dir(folder.join(".saving")).into_iter().flatten() {
                fs::write(name.unwrap().path(), "{").unwrap();
            }
            match found(folder) {
                Ok(found) if found == is => replaced = true,
                Ok(found) => assert!(found == was && old.is_some() && !replaced, "{place}: {found:?}"),
                Err(error) => assert!(old.is_none() && !replaced, "{place}: {error}"),
            }
            match found_by_others(folder) {
                Ok(found) => assert!(found == is && replaced || found == was && old.is_some(), "{place}: {found:?}"),
                Err(error) => {
                    assert!(old.is_none() || was.0 != is.0 && !folder.join("config.json").exists(), "{place}: {error}");
                    assert!(end == End::Crash || replaced || old.is_none(), "{place}: {error}");
                }
            }
            if steps % 3 == 0 || !ended {
                save(folder, 3, 3, new);
                assert_eq!((found(folder).unwrap(), found_by_others(folder).unwrap()), ((3, 3), (3, 3)), "{place}");
                assert_eq!(names(folder).len(), if new == ONE { 2 } else { 4 }, "{place}: {:?}", names(folder));
            }
            if !ended {
                assert!(replaced && steps > 6, "{place}");
                return;
            }
        }
    }

    #[test]
    fn a_crash_leaves_the_old_checkpoint_or_the_new_one() {
        for new in [ONE, SEVERAL] {
            ends_anywhere(None, new, (5, 6), End::Crash);
            for old in [ONE, SEVERAL] {
                ends_anywhere(Some(old), new, (5, 6), End::Crash);
                ends_anywhere(Some(old), new, (5, 5), End::Crash);
            }
        }
    }

    #[test]
    fn a_failure_leaves_the_old_checkpoint_or_the_new_one() {
        for (old, new) in [(ONE, ONE), (ONE, SEVERAL), (SEVERAL, ONE), (SEVERAL, SEVERAL)] {
            ends_anywhere(Some(old), new, (5, 6), End::Failure);
        }
    }

    #[test]
    fn a_crash_while_another_is_made_good_leaves_one_of_them() {
        // Ends the saving that finds a whole checkpoint on the way, before each of its steps.
        for new in [ONE, SEVERAL] {
            for steps in 0.. {
                let folder = tempfile::tempdir().unwrap();
                let folder = folder.path();
                save(folder, 1, 1, ONE);
                let on_the_way = (0..).find(|steps| {
                    save_up_to(folder, 2, 2, new, (*steps, End::Crash));
                    folder.join(".saved").is_dir()
                });
                assert!(on_the_way.is_some() && found(folder).unwrap() == (2, 2));
                let ended = save_up_to(folder, 3, 3, SEVERAL, (steps, End::Crash));
                let (config, value) = found(folder).unwrap();
                assert!(config == value && [2, 3].contains(&value), "before step {steps}: {config} {value}");
                if !ended {
                    assert_eq!(value, 3);
                    break;
                }
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn savings_into_one_folder_wait_for_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::thread::scope(|scope| {
            for value in 1..=4 {
                scope.spawn(move || {
                    (0..5).for_each(|_| save(folder, value, value, if value > 2 { ONE } else { SEVERAL }))
                });
            }
        });
        let (config, value) = found(folder).unwrap();
        assert_eq!(config, value);
        assert!(names(folder).iter().all(|name| !name.starts_with('.')));
    }
}
