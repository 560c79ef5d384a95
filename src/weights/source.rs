//! Where tensors come from: the files of a checkpoint, a seed, or memory.

use std::collections::BTreeMap;
use std::path::Path;

use tch::{Kind, Tensor};

use super::is_float;
use super::pickle::TorchFile;
use super::publish::{INDEX, WHOLE, on_the_way};
use super::safetensors::SafetensorsFile;
use super::seeded::SeededTensors;
use super::shards::{Shards, TensorFile};
use crate::{Error, Result};

/// A set of named tensors that can be read one by one.
#[derive(Debug)]
pub enum TensorSource {
    /// A memory-mapped safetensors file.
    File(SafetensorsFile),
    /// Several files with an index.
    Sharded(Shards),
    /// A memory-mapped file of `torch.save`.
    Torch(TorchFile),
    /// Values drawn from a seed (`weights.json` of a reference case).
    Seeded(SeededTensors),
    /// Tensors in memory.
    Memory(BTreeMap<String, Tensor>),
}

impl TensorSource {
    /// Opens the weights of a checkpoint or case folder: `model.safetensors`, else the files that
    /// `model.safetensors.index.json` names, else `pytorch_model.bin`, else the files that
    /// `pytorch_model.bin.index.json` names, else `weights.json`. What a crash of [`Model::save`](crate::Model::save) left
    /// whole goes before all of them.
    ///
    /// # Errors
    /// When there is none of them, or the first of them is damaged: an index that names a file outside the folder or one
    /// that is missing, a tensor in no file or in two.
    pub fn open(directory: &Path) -> Result<Self> {
        let found = |name: &str| Some(directory.join(name)).filter(|path| path.exists());
        let saved = on_the_way(directory, INDEX);
        if saved.is_none()
            && let Some(file) = on_the_way(directory, WHOLE).or_else(|| found(WHOLE))
        {
            return Ok(Self::File(SafetensorsFile::open(&file)?));
        }
        if let Some(index) = saved.or_else(|| found(INDEX)) {
            return Ok(Self::Sharded(Shards::open(&index, directory, SafetensorsFile::open)?));
        }
        if let Some(file) = found("pytorch_model.bin") {
            return Ok(Self::Torch(TorchFile::open(&file)?));
        }
        if let Some(index) = found("pytorch_model.bin.index.json") {
            return Ok(Self::Sharded(Shards::open(&index, directory, TorchFile::open)?));
        }
        if let Some(seeded) = found("weights.json") {
            return Ok(Self::Seeded(SeededTensors::open(&seeded)?));
        }
        Err(Error::WeightsFile {
            path: directory.into(),
            message: "holds none of model.safetensors, pytorch_model.bin, an index of either and weights.json".into(),
        })
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::File(file) => file.names(),
            Self::Sharded(shards) => shards.names(),
            Self::Torch(file) => file.names(),
            Self::Seeded(seeded) => seeded.names(),
            Self::Memory(tensors) => tensors.keys().cloned().collect(),
        }
    }

    /// Whether there is no tensor at all.
    pub fn is_empty(&self) -> bool {
        self.names().is_empty()
    }

    /// The shape of a tensor, or `None` where there is no such name.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        match self {
            Self::File(file) => file.shape(name),
            Self::Sharded(shards) => shards.shape(name),
            Self::Torch(file) => file.shape(name),
            Self::Seeded(seeded) => seeded.shape(name),
            Self::Memory(tensors) => tensors.get(name).map(Tensor::size),
        }
    }

    /// The dtype of a tensor, or `None` where there is no such name.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        match self {
            Self::File(file) => file.kind(name),
            Self::Sharded(shards) => shards.kind(name),
            Self::Torch(file) => file.kind(name),
            Self::Seeded(seeded) => seeded.kind(name),
            Self::Memory(tensors) => tensors.get(name).map(Tensor::kind),
        }
    }

    /// The kind of the first floating-point tensor (by name, in the first file), which Python takes for that of all;
    /// `Float` where there is none.
    pub fn own_kind(&self) -> Kind {
        let names = match self {
            Self::Sharded(shards) => shards.names_in_first(),
            _ => self.names(),
        };
        names.iter().filter_map(|name| self.kind(name)).find(|kind| is_float(*kind)).unwrap_or(Kind::Float)
    }

    /// A tensor as it is stored, on the CPU.
    ///
    /// Those of files are views on the mapped file, where they lie in it as they are wanted: writing to one leaves the file
    /// as it is. A file must not be made shorter while there are any, which would end the process; that another takes its
    /// place is harmless.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        match self {
            Self::File(file) => file.tensor(name),
            Self::Sharded(shards) => shards.tensor(name),
            Self::Torch(file) => file.tensor(name),
            Self::Seeded(seeded) => seeded.tensor(name),
            Self::Memory(tensors) => tensors
                .get(name)
                .map(Tensor::shallow_clone)
                .ok_or_else(|| Error::WeightsFile { path: name.into(), message: "no such tensor".into() }),
        }
    }

    /// Every tensor, as [`TensorSource::tensor`] gives it.
    pub fn into_memory(self) -> Result<BTreeMap<String, Tensor>> {
        match self {
            Self::Memory(tensors) => Ok(tensors),
            source => source.names().into_iter().map(|name| Ok((name.clone(), source.tensor(&name)?))).collect(),
        }
    }
}
