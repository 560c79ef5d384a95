//! Reading the files that `torch.save` writes (`pytorch_model.bin`): a zip archive with a pickle that describes the
//! tensors and one entry for the bytes of each storage.
//!
//! A pickle is a program. This reader runs none of it: it knows the few opcodes and names that a dictionary of tensors
//! needs, and whatever else stands in a file is an error that names it.

mod archive;
mod globals;
mod machine;
mod opcodes;
mod tensors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};

use self::archive::Archive;
use self::tensors::Strided;
use super::shards::TensorFile;
use crate::{Error, Result};

/// An open file of `torch.save`: its pickle read and checked, the bytes of the tensors mapped.
#[derive(Debug)]
pub struct TorchFile {
    path: PathBuf,
    archive: Archive,
    tensors: BTreeMap<String, Strided>,
}

impl TorchFile {
    /// Maps `path`, which must hold a dictionary of names and tensors, as `torch.save(model.state_dict(), path)` writes it.
    ///
    /// # Errors
    /// When the file is damaged, in the format from before torch 1.6, compressed or written by a machine of the other
    /// byte order; when its pickle has an opcode or a name that a dictionary of tensors has no use for; when a tensor
    /// reaches beyond its storage.
    pub fn open(path: &Path) -> Result<Self> {
        let damaged = |message: String| Error::WeightsFile { path: path.into(), message };
        let map = tch_transformers_native::MappedFile::open(path).map_err(|error| Error::io(path, error))?;
        let archive = Archive::open(map).map_err(damaged)?;
        let tensors = machine::state_dict(archive.pickle(), &archive).map_err(damaged)?;
        Ok(Self { path: path.into(), archive, tensors })
    }
}

impl TensorFile for TorchFile {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<i64>> {
        self.tensors.get(name).map(|tensor| tensor.size.clone())
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        self.tensors.get(name).map(|tensor| tensor.storage.kind)
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        let damaged = |message: String| Error::WeightsFile { path: self.path.clone(), message };
        let tensor = self.tensors.get(name).ok_or_else(|| damaged(format!("no tensor `{name}`")))?;
        tensor.read(&self.archive).map_err(|why| damaged(format!("tensor `{name}`: {why}")))
    }
}
