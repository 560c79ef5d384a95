use std::ffi::{CStr, c_char, c_void};
use std::sync::OnceLock;

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
/// On the CPU it may lie in memory as oneDNN wants it, in blocks: multiplying one or a few vectors then takes the time
/// that reading the matrix takes, two to five times less than with rows.
#[derive(Debug, Clone)]
pub struct Matrix {
    weight: Weight,
    prepacked: bool,
}

impl Matrix {
    /// The matrix `[outputs, inputs]`, laid out as `prepack` says.
    pub fn new(matrix: &Tensor, prepack: Prepack) -> Self {
        let wanted = match prepack {
            Prepack::Auto => matrix.numel() >= smallest(matrix.kind()),
            Prepack::Always => true,
            Prepack::Never => false,
        };
        let possible = wanted
            && matrix.device() == Device::Cpu
            && matrix.dim() == 2
            && matrix.numel() > 0
            && !matrix.requires_grad()
            && supported(matrix.kind());
        match possible.then(|| prepacked(matrix)).flatten() {
            Some(blocks) => Self { weight: Weight::new(blocks), prepacked: true },
            None => Self { weight: Weight::new(matrix.shallow_clone()), prepacked: false },
        }
    }

    /// Whether it is laid out in blocks.
    pub fn is_prepacked(&self) -> bool {
        self.prepacked
    }

    /// The matrix in rows: itself, or a copy where it lies in blocks, bit for bit what it was made of.
    pub fn rows(&self) -> Tensor {
        match self.prepacked {
            true => self.weight.to_dense(None::<Kind>, false),
            false => self.weight.shallow_clone(),
        }
    }

    /// `[outputs, inputs]`.
    pub fn size(&self) -> Vec<i64> {
        self.weight.size()
    }

    /// The kind of its elements.
    pub fn kind(&self) -> Kind {
        self.weight.kind()
    }

    /// `x Wᵀ + bias` on the last dimension of `x`, `[…, inputs]` to `[…, outputs]`.
    ///
    /// # Panics
    /// As the operators of [`tch`]: where shapes or kinds do not fit.
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        if !self.prepacked || x.numel() == 0 {
            return x.linear(&self.rows(), bias);
        }
        if x.kind() != self.kind() {
            panic!("expected a tensor of {:?} for a matrix of that kind, got {:?}", self.kind(), x.kind());
        }
        let bias = bias.map_or(std::ptr::null(), |bias| bias.as_ptr().cast::<c_void>());
        // SAFETY: all pointers are to live tensors of libtorch, which are only read; the result is a new tensor.
        let y = unsafe {
            called(|error| tch_transformers_linear(x.as_ptr().cast(), self.weight.as_ptr().cast(), bias, error))
        };
        y.unwrap_or_else(|message| panic!("{message}"))
    }
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
        let Some(blocks) = prepacked(&ones) else { return false };
        let matrix = Matrix { weight: Weight::new(blocks), prepacked: true };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| matrix.linear(&ones, None))).is_ok()
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
            assert!(blocks.rows().equal(&weight));
            assert_eq!((blocks.size(), blocks.kind()), (vec![37, 53], kind));
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
