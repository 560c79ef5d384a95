//! From where a tensor is stored to where it is used.

use tch::{Device, Kind, Tensor};
use tch_transformers_native::release;

/// Bytes that are read at a time where a tensor is copied.
const STRIP: i64 = 32 << 20;

/// Bytes at a multiple of which libtorch has its own tensors start.
const ALIGNED: usize = 64;

/// Bytes up to which a tensor that starts elsewhere is copied. The order of sums in libtorch's vector code, and so their last
/// bits, may depend on where a tensor starts, and a model is to give the same whatever it was loaded from. Larger matrices
/// are laid out anew for their products, and larger tables only looked up.
const SMALL: usize = 1 << 20;

/// `tensor` on `device` and in `kind`: itself where it is that already, otherwise a copy; and so for small ones that lie
/// in a file where libtorch would not put them.
///
/// A large one is copied strip by strip, and the pages of a mapped file given back after each, so that they are never in
/// memory whole beside the copy.
pub(super) fn bring(tensor: Tensor, device: Device, kind: Kind) -> Tensor {
    if tensor.device() == device && tensor.kind() == kind {
        let small = tensor.numel() * kind.elt_size_in_bytes() <= SMALL;
        if device == Device::Cpu && small && !(tensor.data_ptr() as usize).is_multiple_of(ALIGNED) {
            let copy = tensor.copy();
            release(&tensor);
            return copy;
        }
        return tensor;
    }
    let rows = tensor.size().first().copied().unwrap_or(1);
    let row = (tensor.numel() * tensor.kind().elt_size_in_bytes()) as i64 / rows.max(1);
    let strip = (STRIP / row.max(1)).max(1);
    if rows <= strip {
        let copy = tensor.to_device(device).to_kind(kind);
        release(&tensor);
        return copy;
    }
    let copy = Tensor::empty(tensor.size(), (kind, device));
    for start in (0..rows).step_by(usize::try_from(strip).unwrap_or(usize::MAX)) {
        let rows = strip.min(rows - start);
        let part = tensor.narrow(0, start, rows);
        copy.narrow(0, start, rows).copy_(&part);
        release(&part);
    }
    copy
}

/// Whether any value is not a number.
///
/// A sum is not a number where one of its terms is not. It can be that for another reason, infinities of both signs, and
/// only then the values are looked at one by one: the sum is as fast as memory, which the look is not.
pub(super) fn has_nan(tensor: &Tensor) -> bool {
    let any = |tensor: Tensor| tensor.isnan().any().int64_value(&[]) != 0;
    any(tensor.sum(tensor.kind())) && any(tensor.shallow_clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tensors_are_copied_strip_by_strip() {
        let large = Tensor::arange(5 << 22, (Kind::Float, Device::Cpu)).view([5, 1 << 22]);
        let copy = bring(large.shallow_clone(), Device::Cpu, Kind::Double);
        assert_eq!(copy.kind(), Kind::Double);
        assert!(copy.equal(&large.to_kind(Kind::Double)));
        assert_eq!(bring(large.shallow_clone(), Device::Cpu, Kind::Float).data_ptr(), large.data_ptr());
        let odd = Tensor::arange(5, (Kind::Float, Device::Cpu)).narrow(0, 1, 4);
        let even = bring(odd.shallow_clone(), Device::Cpu, Kind::Float);
        assert!(even.equal(&odd) && (even.data_ptr() as usize).is_multiple_of(ALIGNED));
        let scalar = bring(Tensor::from(2.5f32), Device::Cpu, Kind::Half);
        assert_eq!((scalar.kind(), scalar.double_value(&[])), (Kind::Half, 2.5));
    }

    #[test]
    fn only_what_is_not_a_number_is_one() {
        for kind in [Kind::Float, Kind::Double, Kind::Half, Kind::BFloat16] {
            let values = |values: &[f32]| Tensor::from_slice(values).to_kind(kind);
            assert!(has_nan(&values(&[1.0, f32::NAN, 3.0])), "{kind:?}");
            assert!(!has_nan(&values(&[f32::INFINITY, f32::NEG_INFINITY, 1.0])), "{kind:?}");
            assert!(!has_nan(&values(&[60000.0; 100])) && !has_nan(&values(&[])), "{kind:?}");
        }
    }
}
