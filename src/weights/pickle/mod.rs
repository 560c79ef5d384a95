//! Reading the files that `torch.save` writes (`pytorch_model.bin`): a zip archive with a pickle that describes the
//! tensors and one entry for the bytes of each storage, or, from before torch 1.6, all of it in a row.
//!
//! A pickle is a program. This reader runs none of it: it knows the few opcodes and names that a dictionary of tensors
//! needs, and whatever else stands in a file is an error that names it.

mod archive;
mod calls;
mod globals;
mod legacy;
mod machine;
mod object;
mod opcodes;
mod tensors;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};
use tch_transformers_native::MappedFile;

use self::object::Description;
use self::tensors::Strided;
use super::shards::TensorFile;
use crate::{Error, Result};

/// How often the bytes of a file may stand in its tensors: those that share a storage are tied weights, a few at most.
const MOST_SHARING: u64 = 64;

/// An open file of `torch.save`: its pickle read and checked, the bytes of the tensors mapped.
#[derive(Debug)]
pub struct TorchFile {
    path: PathBuf,
    map: MappedFile,
    /// Where the storages stand in the file.
    places: Vec<Range<usize>>,
    tensors: BTreeMap<String, Strided>,
}

impl TorchFile {
    /// Maps `path`, which must hold a dictionary of names and tensors, as `torch.save(model.state_dict(), path)` writes it:
    /// as a zip archive or in the layout from before torch 1.6, with any protocol of pickle from 2 on.
    ///
    /// Tensors may share a storage, and lie in it in any order. What the file makes this hold grows with its size: a tensor
    /// has no more values than its storage, and all together at most 64 times the bytes of the file.
    ///
    /// # Errors
    /// When the file is damaged, compressed or written by a machine of the other byte order; when its pickle has an opcode or
    /// a name that a dictionary of tensors has no use for; when a tensor reaches beyond its storage.
    pub fn open(path: &Path) -> Result<Self> {
        let damaged = |message: String| Error::WeightsFile { path: path.into(), message };
        let map = MappedFile::open(path).map_err(|error| Error::io(path, error))?;
        let file = map.bytes();
        let read = match legacy::magic(file) {
            Some(end) => legacy::read(file, end),
            None => archive::read(file),
        };
        let (Description { storages, tensors }, places) = read.map_err(damaged)?;
        let places =
            storages.iter().map(|storage| storage.place(&places)).collect::<Result<_, _>>().map_err(damaged)?;
        let bytes = tensors.values().map(Strided::bytes).fold(0, u64::saturating_add);
        if bytes / MOST_SHARING > file.len() as u64 {
            let most = MOST_SHARING;
            return Err(damaged(format!("has tensors of {bytes} bytes in all, more than {most} times its own size")));
        }
        Ok(Self { path: path.into(), map, places, tensors })
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
        self.tensors.get(name).map(|tensor| tensor.kind)
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        let damaged = |message: String| Error::WeightsFile { path: self.path.clone(), message };
        let tensor = self.tensors.get(name).ok_or_else(|| damaged(format!("no tensor `{name}`")))?;
        let read = self.places.get(tensor.storage).ok_or_else(|| "it has no storage".to_owned());
        let read = read.and_then(|place| tensor.read(&self.map, place));
        read.map_err(|why| damaged(format!("tensor `{name}`: {why}")))
    }
}
