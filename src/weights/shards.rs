//! Checkpoints in several files, and the index that says which file holds which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::{Error, Result};

/// Bytes that an index may have at most; that of a checkpoint with 100,000 tensors has a tenth of it.
const LARGEST_INDEX: u64 = 64 << 20;

/// Files that a checkpoint may have at most; the largest known have a few hundred.
pub(super) const MOST_SHARDS: usize = 10_000;

/// One file with named tensors.
pub(super) trait TensorFile: Debug {
    /// All names, sorted.
    fn names(&self) -> Vec<String>;

    /// The shape of a tensor, or `None` where there is no such name.
    fn shape(&self, name: &str) -> Option<Vec<i64>>;

    /// The dtype of a tensor, or `None` where there is no such name.
    fn kind(&self, name: &str) -> Option<Kind>;

    /// One tensor: a view on the file where it lies there as it is wanted, otherwise a copy.
    fn tensor(&self, name: &str) -> Result<Tensor>;
}

/// The files of a checkpoint that is split, each mapped by itself.
#[derive(Debug)]
pub struct Shards {
    index: PathBuf,
    files: Vec<Box<dyn TensorFile>>,
    /// The position in `files` of the one that holds the tensor.
    places: BTreeMap<String, usize>,
}

impl Shards {
    /// Opens the files in `directory` that `index` names, each with `open`, and checks that every tensor stands in exactly one.
    ///
    /// Tensors that stand in a file and not in the index are there all the same, as Python has it.
    pub(super) fn open<F: TensorFile + 'static>(
        index: &Path,
        directory: &Path,
        open: fn(&Path) -> Result<F>,
    ) -> Result<Self> {
        let damaged = |message: String| Error::WeightsFile { path: index.into(), message };
        let map = read_index(index)?;
        let names: Vec<&String> = map.values().collect::<BTreeSet<_>>().into_iter().collect();
        if names.len() > MOST_SHARDS {
            return Err(damaged(format!("names {} files; at most {MOST_SHARDS} are opened", names.len())));
        }
        let mut files: Vec<Box<dyn TensorFile>> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for (at, file_name) in names.iter().enumerate() {
            if !is_plain_name(file_name) {
                return Err(damaged(format!(
                    "names the file `{file_name}`, which must stand beside it, without a folder"
                )));
            }
            let path = directory.join(file_name);
            if !path.is_file() {
                return Err(damaged(format!(
                    "the file `{file_name}` that it names is missing; fetch all of the checkpoint"
                )));
            }
            let file = open(&path)?;
            for tensor in file.names() {
                if let Some(other) = places.get(&tensor).and_then(|other| names.get(*other)) {
                    return Err(damaged(format!("tensor `{tensor}` stands in two files, `{other}` and `{file_name}`")));
                }
                places.insert(tensor, at);
            }
            files.push(Box::new(file));
        }
        for (tensor, file_name) in &map {
            let holder = places.get(tensor).and_then(|at| names.get(*at));
            if holder != Some(&file_name) {
                let found = holder.map_or("in none".into(), |holder| format!("in `{holder}`"));
                return Err(damaged(format!("says that tensor `{tensor}` stands in `{file_name}`; it stands {found}")));
            }
        }
        Ok(Self { index: index.into(), files, places })
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.places.keys().cloned().collect()
    }

    /// The names in the first file, sorted.
    pub(super) fn names_in_first(&self) -> Vec<String> {
        self.files.first().map(|file| file.names()).unwrap_or_default()
    }

    /// The shape of a tensor, or `None` where there is no such name.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        self.holder(name)?.shape(name)
    }

    /// The dtype of a tensor, or `None` where there is no such name.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.holder(name)?.kind(name)
    }

    /// One tensor: a view on its file where it lies there as it is wanted, otherwise a copy.
    ///
    /// # Errors
    /// When there is no such tensor, or its file is damaged.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let missing = || Error::WeightsFile { path: self.index.clone(), message: format!("no tensor `{name}`") };
        self.holder(name).ok_or_else(missing)?.tensor(name)
    }

    fn holder(&self, name: &str) -> Option<&dyn TensorFile> {
        self.files.get(*self.places.get(name)?).map(|file| &**file)
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The `weight_map` of an index: tensor to file.
pub(super) fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    let mut text = String::new();
    let read = file.take(LARGEST_INDEX + 1).read_to_string(&mut text).map_err(|error| Error::io(path, error))?;
    if read as u64 > LARGEST_INDEX {
        let message = format!("is larger than {LARGEST_INDEX} bytes, which no index of a checkpoint is");
        return Err(Error::WeightsFile { path: path.into(), message });
    }
    let index: Index =
        serde_json::from_str(&text).map_err(|error| Error::Json { path: path.into(), message: error.to_string() })?;
    Ok(index.weight_map)
}

/// Whether `name` leads to a file of the folder it is joined to, on every platform.
fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let normal = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name);
    normal && !name.contains(['\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_without_a_folder_are_plain() {
        assert!(is_plain_name("model-00001-of-00002.safetensors"));
        for name in ["", ".", "..", "../a", "/a", "a/b", "a/", "./a", "a\\b", "C:a", "a\0"] {
            assert!(!is_plain_name(name), "{name:?}");
        }
    }
}
