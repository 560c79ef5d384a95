//! Tensors as a pickle describes them: a storage, and how a tensor lies in it.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::archive::Archive;

/// Dimensions that a tensor may have at most; parameters have five.
pub(super) const MOST_DIMENSIONS: usize = 16;

/// A storage: where its bytes stand in the file.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    pub(super) kind: Kind,
    numel: i64,
    bytes: Range<usize>,
}

impl Storage {
    /// The storage `key` of `numel` values, which the archive must hold in full.
    pub(super) fn find(archive: &Archive, key: &str, kind: Kind, numel: i64) -> Result<Self, String> {
        let bytes = archive.storage(key).ok_or_else(|| format!("the storage {key:?} is missing"))?;
        let wanted = usize::try_from(numel).ok().and_then(|numel| numel.checked_mul(kind.elt_size_in_bytes()));
        if wanted != Some(bytes.len()) {
            let found = bytes.len();
            return Err(format!("the storage {key:?} should hold {numel} values of {kind:?} and has {found} bytes"));
        }
        Ok(Self { kind, numel, bytes })
    }
}

/// A tensor in a storage, all of it inside.
#[derive(Debug, Clone)]
pub(super) struct Strided {
    pub(super) storage: Storage,
    pub(super) size: Vec<i64>,
    stride: Vec<i64>,
    /// The first value, and the one after the last.
    extent: Range<usize>,
}

impl Strided {
    /// Checks that the tensor lies inside its storage and has no more values than it, so that a small file cannot ask
    /// for much memory.
    pub(super) fn new(storage: Storage, offset: i64, size: Vec<i64>, stride: Vec<i64>) -> Result<Self, String> {
        let refused =
            |why: &str| Err(format!("a tensor of size {size:?}, strides {stride:?} and offset {offset} {why}"));
        if size.len() > MOST_DIMENSIONS || stride.len() > MOST_DIMENSIONS {
            return Err(format!("a tensor has more than {MOST_DIMENSIONS} dimensions"));
        }
        if size.len() != stride.len() {
            return refused("has not one stride for each dimension");
        }
        if offset < 0 || size.iter().chain(&stride).any(|number| *number < 0) {
            return refused("has a negative number, which torch never writes");
        }
        // Of a tensor without values too, whose sizes are multiplied wherever it goes.
        let numel = size.iter().try_fold(1i64, |product, size| product.checked_mul((*size).max(1)));
        if numel.is_none() {
            return refused("is larger than any memory");
        }
        if size.contains(&0) {
            return Ok(Self { storage, size, stride, extent: 0..0 });
        }
        if numel.is_none_or(|numel| numel > storage.numel) {
            return refused(&format!("has more values than its storage of {}", storage.numel));
        }
        let last = size.iter().zip(&stride).try_fold(offset, |last, (size, stride)| {
            (size - 1).checked_mul(*stride).and_then(|step| last.checked_add(step))
        });
        let Some(last) = last.filter(|last| *last < storage.numel) else {
            return refused(&format!("reaches beyond its storage of {} values", storage.numel));
        };
        let (Ok(first), Ok(last)) = (usize::try_from(offset), usize::try_from(last)) else {
            return refused("is larger than this machine's memory");
        };
        Ok(Self { storage, size, stride, extent: first..last + 1 })
    }

    /// The tensor, contiguous, on the CPU: a view on the file where it lies there row by row, otherwise a copy.
    pub(super) fn read(&self, archive: &Archive) -> Result<Tensor, String> {
        let text = |error: tch::TchError| error.to_string();
        let kind = self.storage.kind;
        if self.extent.is_empty() {
            return Tensor::f_zeros(&self.size, (kind, Device::Cpu)).map_err(text);
        }
        let Storage { bytes, .. } = &self.storage;
        let width = kind.elt_size_in_bytes();
        let range = bytes.start + self.extent.start * width..bytes.start + self.extent.end * width;
        let flat = archive.map().tensor(&range, &[self.extent.len() as i64], kind)?;
        flat.f_as_strided(&self.size, &self.stride, 0).and_then(|tensor| tensor.f_contiguous()).map_err(text)
    }
}
