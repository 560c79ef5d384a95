//! Tensors as a pickle describes them: a storage, and how a tensor lies in it.

use std::collections::HashMap;
use std::ops::Range;

use tch::{Device, Kind, Tensor};
use tch_transformers_native::MappedFile;

/// Dimensions that a tensor may have at most; parameters have five.
pub(super) const MOST_DIMENSIONS: usize = 16;

/// A storage as a pickle describes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) kind: Kind,
    pub(super) numel: i64,
}

impl Storage<'_> {
    /// Where its bytes stand in the file, which must hold it in full.
    pub(super) fn place(&self, places: &HashMap<String, Range<usize>>) -> Result<Range<usize>, String> {
        let Self { key, kind, numel } = *self;
        let bytes = places.get(key).ok_or_else(|| format!("the storage {key:?} is missing"))?;
        let wanted = usize::try_from(numel).ok().and_then(|numel| numel.checked_mul(kind.elt_size_in_bytes()));
        if wanted != Some(bytes.len()) {
            let found = bytes.len();
            return Err(format!("the storage {key:?} should hold {numel} values of {kind:?} and has {found} bytes"));
        }
        Ok(bytes.clone())
    }
}

/// A tensor in a storage, all of it inside.
#[derive(Debug, Clone)]
pub(super) struct Strided {
    /// The position of its storage among those of the file.
    pub(super) storage: usize,
    pub(super) kind: Kind,
    pub(super) size: Vec<i64>,
    stride: Vec<i64>,
    /// The first value, and the one after the last.
    extent: Range<usize>,
}

impl Strided {
    /// Checks that the tensor lies inside its storage and has no more values than it, so that a small file cannot ask
    /// for much memory.
    pub(super) fn new(
        (storage, Storage { kind, numel: most, .. }): (usize, &Storage<'_>),
        offset: i64,
        size: Vec<i64>,
        stride: Vec<i64>,
    ) -> Result<Self, String> {
        let (kind, most) = (*kind, *most);
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
            return Ok(Self { storage, kind, size, stride, extent: 0..0 });
        }
        if numel.is_none_or(|numel| numel > most) {
            return refused(&format!("has more values than its storage of {most}"));
        }
        let last = size.iter().zip(&stride).try_fold(offset, |last, (size, stride)| {
            (size - 1).checked_mul(*stride).and_then(|step| last.checked_add(step))
        });
        let Some(last) = last.filter(|last| *last < most) else {
            return refused(&format!("reaches beyond its storage of {most} values"));
        };
        let (Ok(first), Ok(last)) = (usize::try_from(offset), usize::try_from(last)) else {
            return refused("is larger than this machine's memory");
        };
        Ok(Self { storage, kind, size, stride, extent: first..last + 1 })
    }

    /// The bytes that the tensor takes.
    pub(super) fn bytes(&self) -> u64 {
        self.size.iter().product::<i64>().unsigned_abs().saturating_mul(self.kind.elt_size_in_bytes() as u64)
    }

    /// The tensor, contiguous, on the CPU: a view on the file where it lies there row by row, otherwise a copy. Its storage
    /// is at `place` in `map`.
    pub(super) fn read(&self, map: &MappedFile, place: &Range<usize>) -> Result<Tensor, String> {
        let text = |error: tch::TchError| error.to_string();
        if self.extent.is_empty() {
            return Tensor::f_zeros(&self.size, (self.kind, Device::Cpu)).map_err(text);
        }
        let width = self.kind.elt_size_in_bytes();
        let range = place.start + self.extent.start * width..place.start + self.extent.end * width;
        let flat = map.tensor(&range, &[self.extent.len() as i64], self.kind)?;
        flat.f_as_strided(&self.size, &self.stride, 0).and_then(|tensor| tensor.f_contiguous()).map_err(text)
    }
}
