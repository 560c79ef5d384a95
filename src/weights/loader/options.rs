//! Where parameters go and in which form.

use tch::{Device, Kind};
use tch_transformers_native::Prepack;

/// Where parameters go and in which form.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// The device that holds the parameters.
    pub device: Device,
    /// The floating-point kind that parameters are brought to; `None` is the checkpoint's own, as Python's
    /// `dtype="auto"`: the one that `dtype` (`torch_dtype`) of `config.json` names, else that of the first
    /// floating-point tensor by name. See [`Dtype`](crate::weights::Dtype).
    pub kind: Option<Kind>,
    /// Whether gradients flow into the parameters.
    pub trainable: bool,
    /// Whether tensors that nothing asks for are passed over in silence, such as the heads of another class.
    pub allow_unused: bool,
    /// Whether parameters that the checkpoint lacks are drawn anew, as Python initialises them, such as the head of a
    /// model that is to be trained for another task. [`LoadReport::fresh`](crate::weights::LoadReport::fresh) names them.
    pub allow_new_heads: bool,
    /// Whether parameters that the checkpoint has in another shape are drawn anew, such as a head for other labels.
    /// [`LoadReport::replaced`](crate::weights::LoadReport::replaced) names them.
    pub ignore_mismatched_sizes: bool,
    /// Decides, together with its name, what a new parameter is drawn as.
    pub seed: u64,
    /// Which matrices are laid out for oneDNN; none of a trainable model.
    pub prepack: Prepack,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            kind: Some(Kind::Float),
            trainable: false,
            allow_unused: false,
            allow_new_heads: false,
            ignore_mismatched_sizes: false,
            seed: 0,
            prepack: Prepack::Auto,
        }
    }
}
