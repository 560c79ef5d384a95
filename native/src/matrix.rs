use std::borrow::Borrow;
use std::ffi::{CStr, c_char, c_void};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use tch::{Device, Kind, Tensor};

use crate::Weight;

unsafe extern "C" {
    fn tch_transformers_prepack(matrix: *const c_void, rows: i64, error: *mut *mut c_char) -> *mut c_void;
    fn tch_transformers_linear(
        x: *const c_void,
        prepacked: *const c_void,
        bias: *const c_void,
        error: *mut *mut c_char,
    ) -> *mut c_void;
    fn free(pointer: *mut c_void);
}

/// When a [`Matrix`] is laid out for oneDNN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prepack {
    /// Where it is worth it: matrices that are not small, of a kind that this processor has fast code for, on the CPU.
    #[default]
    Auto,
    /// Wherever it is possible.
    Always,
    /// Never: parameters stay as they are, and gradients flow.
    Never,
}

/// The number of vectors that matrices are laid out for; with this one the layer is fast for any number.
const ROWS: i64 = 128;

/// A matrix that vectors are multiplied with, `[outputs, inputs]`, never written after loading.
///
/// On the CPU its first product may lay it out in memory as oneDNN wants it, in blocks: multiplying one or a few vectors
/// then takes the time that reading the matrix takes, two to five times less than with rows. Until then it is what it was
/// made of, which may lie in a mapped file.
#[derive(Debug, Clone)]
pub struct Matrix(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    size: [i64; 2],
    kind: Kind,
    form: RwLock<Form>,
}

/// How a matrix lies in memory.
#[derive(Debug)]
enum Form {
    /// In rows, for good.
    Rows(Weight),
    /// In rows, one part after the other, until the first product.
    Waiting(Vec<Weight>),
    /// In oneDNN's blocks.
    Blocks(Weight),
}

impl Matrix {
    /// The matrix `[outputs, inputs]`, laid out as `prepack` says.
    pub fn new(matrix: &Tensor, prepack: Prepack) -> Self {
        Self::of_parts(vec![matrix.shallow_clone()], prepack)
    }

    /// The matrix whose rows are those of `parts`, one part after the other; none stands for no rows.
    pub fn of_parts(parts: Vec<Tensor>, prepack: Prepack) -> Self {
        let rows = parts.iter().filter_map(|part| part.size().first().copied()).sum();
        let inputs = parts.first().and_then(|part| part.size().get(1).copied()).unwrap_or(0);
        let kind = parts.first().map_or(Kind::Float, Tensor::kind);
        let elements = usize::try_from(rows * inputs).unwrap_or(0);
        let wanted = match prepack {
            Prepack::Auto => elements >= smallest(kind),
            Prepack::Always => elements > 0,
            Prepack::Never => false,
        };
        let fits = |part: &Tensor| {
            part.device() == Device::Cpu
                && part.kind() == kind
                && part.size().get(1..) == Some(&[inputs])
                && !part.requires_grad()
        };
        let form = match wanted && parts.iter().all(fits) && supported(kind) {
            true => Form::Waiting(parts.into_iter().map(Weight::new).collect()),
            false => Form::Rows(Weight::new(joined(&parts))),
        };
        Self(Arc::new(Shared { size: [rows, inputs], kind, form: RwLock::new(form) }))
    }

    /// Whether it lies in blocks, or will with its first product.
    pub fn is_prepacked(&self) -> bool {
        !matches!(*self.form(), Form::Rows(_))
    }

    /// The matrix in rows: itself, or a copy where it lies in blocks, bit for bit what it was made of.
    pub fn rows(&self) -> Tensor {
        match &*self.form() {
            Form::Rows(rows) => rows.shallow_clone(),
            Form::Waiting(parts) => joined(parts),
            Form::Blocks(blocks) => blocks.to_dense(None::<Kind>, false),
        }
    }

    /// `len` rows from `start` on, as [`Matrix::rows`].
    pub fn some_rows(&self, start: i64, len: i64) -> Tensor {
        if let Form::Waiting(parts) = &*self.form() {
            let mut first = 0;
            for part in parts {
                let rows = part.size()[0];
                if first <= start && start + len <= first + rows {
                    return part.narrow(0, start - first, len);
                }
                first += rows;
            }
        }
        self.rows().narrow(0, start, len)
    }

    /// `[outputs, inputs]`.
    pub fn size(&self) -> [i64; 2] {
        self.0.size
    }

    /// The kind of its elements.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// `x Wᵀ + bias` on the last dimension of `x`, `[…, inputs]` to `[…, outputs]`.
    ///
    /// # Panics
    /// As the operators of [`tch`]: where shapes or kinds do not fit.
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        if matches!(*self.form(), Form::Waiting(_)) {
            self.lay_out();
        }
        match &*self.form() {
            Form::Blocks(blocks) if x.numel() > 0 => product(x, blocks, bias),
            Form::Rows(rows) => x.linear(rows, bias),
            _ => x.linear(&self.rows(), bias),
        }
    }

    fn form(&self) -> RwLockReadGuard<'_, Form> {
        // A form is replaced in one step, so that it is whole even where a thread has panicked.
        self.0.form.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lay_out(&self) {
        let mut form = self.0.form.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if let Form::Waiting(parts) = &*form {
            let rows = joined(parts);
            *form = match prepacked(&rows) {
                Some(blocks) => Form::Blocks(Weight::new(blocks)),
                None => Form::Rows(Weight::new(rows)),
            };
        }
    }
}

/// `parts` one after the other; the only one itself.
fn joined<T: Borrow<Tensor>>(parts: &[T]) -> Tensor {
    match parts {
        [only] => only.borrow().shallow_clone(),
        parts => Tensor::cat(parts, 0),
    }
}

/// `x` times the transpose of the matrix in `blocks`.
fn product(x: &Tensor, blocks: &Weight, bias: Option<&Tensor>) -> Tensor {
    if x.kind() != blocks.kind() {
        panic!("expected a tensor of {:?} for a matrix of that kind, got {:?}", blocks.kind(), x.kind());
    }
    let bias = bias.map_or(std::ptr::null(), |bias| bias.as_ptr().cast::<c_void>());
    // SAFETY: all pointers are to live tensors of libtorch, which are only read; the result is a new tensor.
    let y = unsafe { called(|error| tch_transformers_linear(x.as_ptr().cast(), blocks.as_ptr().cast(), bias, error)) };
    y.unwrap_or_else(|message| panic!("{message}"))
}

/// Elements from which on blocks are worth it: calling oneDNN takes some microseconds more.
fn smallest(kind: Kind) -> usize {
    // libtorch's own layer has no fast code for a few vectors of reduced precision.
    if kind == Kind::Float { 1 << 18 } else { 1 << 14 }
}

/// Whether oneDNN multiplies matrices of `kind` on this processor.
fn supported(kind: Kind) -> bool {
    static SINGLE: OnceLock<bool> = OnceLock::new();
    static BRAIN: OnceLock<bool> = OnceLock::new();
    let known = match kind {
        Kind::Float => &SINGLE,
        Kind::BFloat16 => &BRAIN,
        _ => return false,
    };
    *known.get_or_init(|| {
        let ones = Tensor::ones([2, 2], (kind, Device::Cpu));
        let Some(blocks) = prepacked(&ones).map(Weight::new) else { return false };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| product(&ones, &blocks, None))).is_ok()
    })
}

fn prepacked(matrix: &Tensor) -> Option<Tensor> {
    let matrix = matrix.contiguous();
    // SAFETY: the pointer is to a live tensor, which is only read; the result is a new tensor.
    unsafe { called(|error| tch_transformers_prepack(matrix.as_ptr().cast(), ROWS, error)) }.ok()
}

/// Calls a function of the shim, and takes over the tensor or the message that it returns.
///
/// # Safety
/// `call` passes its argument on to a function of the shim, and returns what that returns.
unsafe fn called(call: impl FnOnce(*mut *mut c_char) -> *mut c_void) -> Result<Tensor, String> {
    let mut error = std::ptr::null_mut();
    let tensor = call(&mut error);
    if error.is_null() {
        // SAFETY: without an error, the shim returns a tensor on the heap, which is ours from here on.
        return Ok(unsafe { Tensor::from_ptr(tensor.cast()) });
    }
    // SAFETY: an error is a string of C on its heap, which is ours, read before it is freed.
    let message = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
    // SAFETY: as above; nothing else has the pointer.
    unsafe { free(error.cast()) };
    Err(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(shape: &[i64], kind: Kind) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
    }

    #[test]
    fn blocks_hold_the_same_bits_and_give_the_same_products() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let (weight, bias) = (random(&[37, 53], kind), random(&[37], kind));
            let blocks = Matrix::new(&weight, Prepack::Always);
            let rows = Matrix::new(&weight, Prepack::Never);
            assert!(blocks.is_prepacked() && !rows.is_prepacked());
            let halves = Matrix::of_parts(vec![weight.narrow(0, 0, 20), weight.narrow(0, 20, 17)], Prepack::Always);
            for matrix in [&blocks, &halves] {
                let as_made = |when| {
                    assert!(matrix.rows().equal(&weight), "{when}");
                    assert!(matrix.some_rows(20, 9).equal(&weight.narrow(0, 20, 9)), "{when}");
                    assert!(matrix.some_rows(15, 9).equal(&weight.narrow(0, 15, 9)), "{when}");
                };
                as_made("before the first product");
                let _ = matrix.linear(&random(&[1, 53], kind), None);
                assert!(matches!(*matrix.form(), Form::Blocks(_)));
                as_made("after it");
                assert_eq!((matrix.size(), matrix.kind()), ([37, 53], kind));
            }
            for shape in [&[53][..], &[1, 53], &[8, 53], &[2, 70, 53], &[0, 53], &[3, 1, 2, 53]] {
                let x = random(shape, kind);
                for bias in [None, Some(&bias)] {
                    let (one, other) = (blocks.linear(&x, bias), rows.linear(&x, bias));
                    assert_eq!(one.size(), other.size());
                    let bound = if kind == Kind::Float { 1e-4 } else { 0.25 };
                    assert!(
                        x.numel() == 0 || (one - other).abs().max().double_value(&[]) < bound,
                        "{kind:?} {shape:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_view_that_is_not_contiguous_is_taken() {
        let x = random(&[4, 6, 24], Kind::Float).transpose(0, 1).narrow(2, 3, 16);
        let weight = random(&[16, 9], Kind::Float).tr();
        let (blocks, rows) = (Matrix::new(&weight, Prepack::Always), Matrix::new(&weight, Prepack::Never));
        assert!(blocks.is_prepacked());
        assert!((blocks.linear(&x, None) - rows.linear(&x, None)).abs().max().double_value(&[]) < 1e-4);
    }

    #[test]
    fn small_matrices_and_other_kinds_stay_rows() {
        let packed = |shape: &[i64], kind, prepack| Matrix::new(&random(shape, kind), prepack).is_prepacked();
        assert!(!packed(&[64, 64], Kind::Float, Prepack::Auto));
        assert!(packed(&[512, 512], Kind::Float, Prepack::Auto));
        assert!(packed(&[128, 128], Kind::BFloat16, Prepack::Auto));
        assert!(!packed(&[512, 512], Kind::Double, Prepack::Always));
        assert!(!packed(&[512, 0], Kind::Float, Prepack::Always));
        let trained = random(&[512, 512], Kind::Float).set_requires_grad(true);
        assert!(!Matrix::new(&trained, Prepack::Always).is_prepacked());
    }

    #[test]
    fn vectors_of_another_size_or_kind_fail_with_a_message() {
        let matrix = Matrix::new(&random(&[8, 6], Kind::Float), Prepack::Always);
        for x in [random(&[2, 7], Kind::Float), random(&[2, 6], Kind::Double)] {
            let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| matrix.linear(&x, None)));
            assert!(failed.is_err(), "{:?} {:?}", x.size(), x.kind());
        }
    }
}
