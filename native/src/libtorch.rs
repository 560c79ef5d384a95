//! The functions of libtorch's C interface (`torch/csrc/stable/c/shim.h`) that `tch` does not bind.

use std::ffi::{c_int, c_void};

use tch::Kind;
use torch_sys::C_tensor;

unsafe extern "C" {
    /// A tensor over memory that is not libtorch's: `deleter` is called with `context` when nothing refers to it any more.
    pub(crate) fn torch_from_blob(
        data: *mut c_void,
        dimensions: i64,
        sizes: *const i64,
        strides: *const i64,
        storage_offset: i64,
        kind: i32,
        device_type: i32,
        device_index: i32,
        tensor: *mut *mut C_tensor,
        layout: i32,
        opaque_metadata: *const u8,
        opaque_metadata_size: i64,
        deleter: extern "C" fn(*mut c_void, *mut c_void),
        context: *mut c_void,
    ) -> c_int;
}

/// The number by which libtorch's C interface knows `kind`, where files have tensors of that kind.
pub(crate) fn number(kind: Kind) -> Option<i32> {
    Some(match kind {
        Kind::Uint8 => 0,
        Kind::Int8 => 1,
        Kind::Int16 => 2,
        Kind::Int => 3,
        Kind::Int64 => 4,
        Kind::Half => 5,
        Kind::Float => 6,
        Kind::Double => 7,
        Kind::Bool => 11,
        Kind::BFloat16 => 15,
        _ => return None,
    })
}
