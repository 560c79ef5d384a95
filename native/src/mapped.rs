use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use memmap2::{MmapOptions, MmapRaw};
use tch::{Device, Kind, Tensor};

use crate::libtorch;

/// A file mapped into memory, whose tensors are views on it.
///
/// The mapping lives as long as the last view. It is private: what is written to a view stays in this process's memory,
/// and the file as it is. A file that another process makes shorter while it is mapped ends this one when the lost part is
/// read; replacing a file by renaming another over it is harmless.
#[derive(Debug)]
pub struct MappedFile(Arc<Map>);

#[derive(Debug)]
struct Map(MmapRaw);

/// The mappings that there are, by where they start.
static MAPS: Mutex<BTreeMap<usize, Weak<Map>>> = Mutex::new(BTreeMap::new());

fn maps() -> MutexGuard<'static, BTreeMap<usize, Weak<Map>>> {
    MAPS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Map {
    fn drop(&mut self) {
        // Before the addresses are free for another.
        maps().remove(&self.0.as_ptr().addr());
    }
}

impl MappedFile {
    /// Maps `path`.
    ///
    /// # Errors
    /// When the file cannot be opened or mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the mapping is private to this process. Another process that truncates the file while it is mapped could
        // still fault us; checkpoints are not edited in place, and every loader of memory-mapped weights takes this risk.
        let map = unsafe { MmapOptions::new().no_reserve_swap().map_copy(&file) }?;
        let map = Arc::new(Map(MmapRaw::from(map)));
        maps().insert(map.0.as_ptr().addr(), Arc::downgrade(&map));
        Ok(Self(map))
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is as long as this and lives as long as `self`. The library reads headers by it, which no
        // view covers, and copies what no view can be made of, before anybody has a view to write to.
        unsafe { std::slice::from_raw_parts(self.0.0.as_ptr(), self.0.0.len()) }
    }

    /// The tensor of `shape` and `kind` whose values stand in `range`, row by row: a view on them, or a copy where they do
    /// not start at a multiple of their width, which leaves no pages of the file in memory.
    ///
    /// # Errors
    /// Where the range is not one of the file or not as long as the shape says, and where libtorch refuses.
    pub fn tensor(&self, range: &Range<usize>, shape: &[i64], kind: Kind) -> Result<Tensor, String> {
        let bytes = self.bytes().get(range.clone()).ok_or("reaches beyond the end of the file")?;
        let width = kind.elt_size_in_bytes();
        if length(shape).and_then(|length| length.checked_mul(width)) != Some(bytes.len()) {
            return Err(format!("has {} bytes, which are not {shape:?} values of {kind:?}", bytes.len()));
        }
        let number = libtorch::number(kind).filter(|_| bytes.as_ptr().addr().is_multiple_of(width));
        match number.filter(|_| !bytes.is_empty()) {
            Some(number) => self.view(range.start, shape, number),
            None => {
                let copy = Tensor::f_from_data_size(bytes, shape, kind).map_err(|error| error.to_string());
                give_back(&self.0, range);
                copy
            }
        }
    }

    /// A view on the values from `start` on, of the kind with this `number`; they are in the mapping, and aligned.
    fn view(&self, start: usize, shape: &[i64], number: i32) -> Result<Tensor, String> {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        let owner = Arc::into_raw(Arc::clone(&self.0));
        let mut tensor = ptr::null_mut();
        // SAFETY: the values lie in the mapping, row by row as `strides` say, and are aligned, as the caller has checked; the
        // mapping may be written to, and `owner` keeps it until libtorch calls `let_go`.
        let failed = unsafe {
            libtorch::torch_from_blob(
                self.0.0.as_mut_ptr().add(start).cast(),
                shape.len() as i64,
                shape.as_ptr(),
                strides.as_ptr(),
                0,
                number,
                CPU.0,
                CPU.1,
                &mut tensor,
                STRIDED,
                ptr::null(),
                0,
                let_go,
                owner.cast_mut().cast(),
            )
        };
        if failed != 0 || tensor.is_null() {
            // Whether `owner` was let go is unknown, and so it never is.
            return Err("libtorch makes no tensor of it".into());
        }
        // SAFETY: libtorch's handles of tensors are pointers to C++ tensors on the heap, as `tch` has them; this one is ours.
        Ok(unsafe { Tensor::from_ptr(tensor) })
    }
}

/// Gives the pages of a tensor that is a view on a [`MappedFile`] back to the system: they no longer count as this process's
/// memory, and are read from the file again where they are looked at. What was written to them is lost. Does nothing for
/// other tensors.
pub fn release(tensor: &Tensor) {
    if let Some((map, place)) = place(tensor) {
        give_back(&map, &place);
    }
}

/// Gives the pages that `place` has to itself back to the system; others may have been written to.
fn give_back(map: &Map, place: &Range<usize>) {
    #[cfg(unix)]
    {
        let whole = place.start.next_multiple_of(PAGE)..place.end / PAGE * PAGE;
        // SAFETY: the pages stay mapped, and come back as the file has them; the mapping is of a file and private. The
        // library writes to no weights that it gives back, so that all who look see the same as before.
        let _ = unsafe { map.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, whole.start, whole.len()) };
    }
    #[cfg(not(unix))]
    let _ = (map, place);
}

/// Bytes of a page; where pages are larger, advice is about all that it touches.
const PAGE: usize = 4096;

/// The mapping that a tensor lies in, and the bytes there from its first value to its last.
fn place(tensor: &Tensor) -> Option<(Arc<Map>, Range<usize>)> {
    if tensor.device() != Device::Cpu || tensor.is_sparse() || tensor.is_mkldnn() || tensor.numel() == 0 {
        return None;
    }
    let last: i64 = tensor.size().iter().zip(tensor.stride()).map(|(size, stride)| (size - 1) * stride).sum();
    let length = (usize::try_from(last).ok()? + 1) * tensor.kind().elt_size_in_bytes();
    let start = tensor.data_ptr().addr();
    // The lock is free again before the mapping is let go, which takes it.
    let map = maps().range(..=start).next_back().and_then(|(_, map)| map.upgrade())?;
    let first = start.checked_sub(map.0.as_ptr().addr())?;
    let place = first..first.checked_add(length)?;
    (place.end <= map.0.len()).then_some((map, place))
}

/// Ends a view's share in the mapping.
extern "C" fn let_go(_data: *mut c_void, owner: *mut c_void) {
    // SAFETY: `owner` is what `Arc::into_raw` gave for this view, and libtorch calls this once.
    drop(unsafe { Arc::from_raw(owner.cast_const().cast::<Map>()) });
}

/// The number of values of `shape`.
fn length(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1usize, |length, size| length.checked_mul(usize::try_from(*size).ok()?))
}

/// libtorch's numbers for the CPU: the type of device, and which one of that type.
const CPU: (i32, i32) = (0, -1);

/// libtorch's number for tensors that lie in memory by strides.
const STRIDED: i32 = 0;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn views_outlive_the_file_and_leave_it_alone() {
        let (folder, path) = file(&[1f32, 2., 3., 4., 5., 6.].map(f32::to_le_bytes).concat());
        let map = MappedFile::open(&path).unwrap();
        let start = map.bytes().as_ptr();
        let mut view = map.tensor(&(4..20), &[2, 2], Kind::Float).unwrap();
        assert_eq!(view.data_ptr().addr(), start.addr() + 4);
        drop(map);
        fs::remove_file(&path).unwrap();
        assert!(view.equal(&Tensor::from_slice(&[2f32, 3., 4., 5.]).view([2, 2])));
        let part = view.narrow(0, 1, 1);
        let _ = view.fill_(7.0);
        drop(view);
        assert!(part.equal(&Tensor::from_slice(&[7f32, 7.]).view([1, 2])));
        drop(folder);
    }

    #[test]
    fn what_is_written_stays_in_memory() {
        let (_folder, path) = file(&[0; 64]);
        let map = MappedFile::open(&path).unwrap();
        let _ = map.tensor(&(0..64), &[64], Kind::Uint8).unwrap().fill_(1);
        assert_eq!((map.bytes(), fs::read(&path).unwrap()), (&[1; 64][..], vec![0; 64]));
    }

    #[test]
    fn pages_are_given_back_and_come_again() {
        let (_folder, path) = file(&[5; 4 * PAGE]);
        let map = MappedFile::open(&path).unwrap();
        let mut whole = map.tensor(&(0..4 * PAGE), &[4, PAGE as i64], Kind::Uint8).unwrap();
        let _ = whole.fill_(1);
        // Pages 1 and 2 are the part's own, of 0 and 3 it has one half each.
        release(&whole.view([-1]).narrow(0, PAGE as i64 / 2, 3 * PAGE as i64));
        let pages: Vec<u8> = map.bytes().iter().copied().step_by(PAGE).collect();
        assert_eq!(pages, [1, 5, 5, 1]);
        release(&Tensor::ones([3, 4], (Kind::Float, Device::Cpu)));
        release(&Tensor::zeros([0], (Kind::Float, Device::Cpu)));
        drop(map);
        release(&whole);
        assert_eq!(whole.sum(Kind::Int64).int64_value(&[]), 4 * 5 * PAGE as i64);
        let start = whole.data_ptr().addr();
        drop(whole);
        assert!(!maps().contains_key(&start));
    }

    #[test]
    fn a_copy_does_not_leave_its_pages_in_memory() {
        let (_folder, path) = file(&[5; 4 * PAGE]);
        let map = MappedFile::open(&path).unwrap();
        let _ = map.tensor(&(0..4 * PAGE), &[4 * PAGE as i64], Kind::Uint8).unwrap().fill_(1);
        let copy = map.tensor(&(1..3 * PAGE + 1), &[3 * PAGE as i64 / 8], Kind::Int64).unwrap();
        // What was written tells which pages were given back: 1 and 2, which are the copy's own.
        let pages: Vec<u8> = map.bytes().iter().copied().step_by(PAGE).collect();
        assert_eq!(pages, [1, 5, 5, 1]);
        assert!(copy.eq(0x0101_0101_0101_0101).all().int64_value(&[]) == 1);
    }

    #[test]
    fn only_tensors_inside_the_file_are_given() {
        let (_folder, path) = file(&[0; 32]);
        let map = MappedFile::open(&path).unwrap();
        let place = |range: Range<usize>, shape: &[i64]| {
            let start = map.bytes().as_ptr().addr();
            map.tensor(&range, shape, Kind::Double).map(|tensor| tensor.data_ptr().addr().wrapping_sub(start))
        };
        assert_eq!(place(8..32, &[3, 1]), Ok(8));
        assert!(place(4..28, &[3]).unwrap() > 32, "not a view");
        for (range, shape) in
            [(0..32, &[3][..]), (8..40, &[4]), (0..usize::MAX, &[4]), (0..32, &[-4]), (0..32, &[i64::MAX, 2])]
        {
            assert!(place(range.clone(), shape).is_err(), "{range:?} {shape:?}");
        }
        assert_eq!(map.tensor(&(8..8), &[0, 3], Kind::Double).unwrap().size(), [0, 3]);
        assert_eq!(map.tensor(&(0..8), &[], Kind::Int64).unwrap().int64_value(&[]), 0);
    }
}
