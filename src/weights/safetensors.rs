//! Reading and writing safetensors files.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorView};
use tch::{Kind, Tensor};
use tch_transformers_native::MappedFile;

use super::shards::TensorFile;
use crate::{Error, Result};

/// An open safetensors file: header parsed and checked, data mapped.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    map: MappedFile,
    metadata: Metadata,
    data_start: usize,
}

impl SafetensorsFile {
    /// Maps `path` and checks its header: sizes, offsets and dtypes.
    pub fn open(path: &Path) -> Result<Self> {
        let damaged = |message: String| Error::WeightsFile { path: path.into(), message };
        let map = MappedFile::open(path).map_err(|error| Error::io(path, error))?;
        let (header_size, metadata) = safetensors::SafeTensors::read_metadata(map.bytes())
            .map_err(|error| damaged(format!("not a valid safetensors file: {error}")))?;
        let file = Self { path: path.into(), map, metadata, data_start: header_size + 8 };
        for name in file.names() {
            if let Some(info) = file.metadata.info(&name)
                && kind(info.dtype).is_none()
            {
                return Err(damaged(format!("tensor `{name}` has the unsupported dtype {:?}", info.dtype)));
            }
        }
        Ok(file)
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort();
        names
    }

    /// The shape of a tensor, or `None` where there is no such name.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        Some(self.metadata.info(name)?.shape.iter().map(|size| *size as i64).collect())
    }

    /// The dtype of a tensor, or `None` where there is no such name.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        kind(self.metadata.info(name)?.dtype)
    }

    /// One tensor: a view on the file, or a copy where its bytes do not start at a multiple of the width of a value.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let damaged = |message: String| Error::WeightsFile { path: self.path.clone(), message };
        let info = self.metadata.info(name).ok_or_else(|| damaged(format!("no tensor `{name}`")))?;
        let kind = kind(info.dtype).ok_or_else(|| damaged(format!("tensor `{name}`: unsupported dtype")))?;
        let shape: Vec<i64> = info.shape.iter().map(|size| *size as i64).collect();
        let (start, end) = info.data_offsets;
        let range = self.data_start.saturating_add(start)..self.data_start.saturating_add(end);
        self.map.tensor(&range, &shape, kind).map_err(|error| damaged(format!("tensor `{name}`: {error}")))
    }

    /// Every tensor, as [`SafetensorsFile::tensor`] gives it.
    ///
    /// # Errors
    /// As there.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        self.names().into_iter().map(|name| Ok((name.clone(), self.tensor(&name)?))).collect()
    }
}

impl TensorFile for SafetensorsFile {
    fn names(&self) -> Vec<String> {
        self.names()
    }

    fn shape(&self, name: &str) -> Option<Vec<i64>> {
        self.shape(name)
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        self.kind(name)
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        self.tensor(name)
    }
}

/// Writes `tensors` to `path`: first to a temporary name beside it, then renamed, so that a crash leaves the old file whole.
///
/// # Errors
/// When a tensor is of a kind that safetensors lacks, or the file cannot be written.
pub fn write(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let temporary = path.with_extension("safetensors.partial");
    write_in_place(&temporary, tensors)?;
    std::fs::rename(&temporary, path).map_err(|error| Error::io(path, error))
}

/// Writes `tensors` to `path` and waits until the disk has them.
pub(super) fn write_in_place(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let unwritable = |message: String| Error::WeightsFile { path: path.into(), message };
    let mut bytes: Vec<(&String, Vec<u8>, Dtype, Vec<usize>)> = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let tensor = tensor.detach().to_device(tch::Device::Cpu).contiguous();
        let dtype = dtype(tensor.kind())
            .ok_or_else(|| unwritable(format!("tensor `{name}` has the unsupported kind {:?}", tensor.kind())))?;
        let mut data = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut data, tensor.numel()).map_err(|error| unwritable(error.to_string()))?;
        bytes.push((name, data, dtype, tensor.size().iter().map(|size| *size as usize).collect()));
    }
    let views = bytes
        .iter()
        .map(|(name, data, dtype, shape)| Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), data)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| unwritable(error.to_string()))?;
    let header = Some(HashMap::from([("format".to_owned(), "pt".to_owned())]));
    safetensors::serialize_to_file(views, header, path).map_err(|error| unwritable(error.to_string()))?;
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| Error::io(path, error))
}

fn kind(dtype: Dtype) -> Option<Kind> {
    KINDS.iter().find(|(_, candidate)| *candidate == dtype).map(|(kind, _)| *kind)
}

fn dtype(kind: Kind) -> Option<Dtype> {
    KINDS.iter().find(|(candidate, _)| *candidate == kind).map(|(_, dtype)| *dtype)
}

const KINDS: &[(Kind, Dtype)] = &[
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Int64, Dtype::I64),
    (Kind::Int, Dtype::I32),
    (Kind::Int16, Dtype::I16),
    (Kind::Int8, Dtype::I8),
    (Kind::Uint8, Dtype::U8),
    (Kind::Bool, Dtype::BOOL),
];
