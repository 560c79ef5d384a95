use std::ops::Deref;

use tch::Tensor;

/// A parameter that is never written after loading, and may therefore be shared between threads.
#[derive(Debug)]
pub struct Weight(Tensor);

// SAFETY: `tch::Tensor` is not `Sync` because libtorch does not order a write with concurrent reads.
// A `Weight` is only ever read: it hands out `&Tensor` and the library's modules use it as an operand.
// libtorch allows concurrent reads of one tensor, and counts its references atomically.
unsafe impl Sync for Weight {}

impl Weight {
    /// Takes a tensor that nobody writes to from now on.
    pub fn new(tensor: Tensor) -> Self {
        Self(tensor)
    }
}

impl Deref for Weight {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}

impl Clone for Weight {
    /// Another handle on the same storage.
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl std::borrow::Borrow<Tensor> for Weight {
    fn borrow(&self) -> &Tensor {
        &self.0
    }
}
