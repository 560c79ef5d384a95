use crate::nn::heads::{Features, Readout};
use crate::nn::{Conv, ConvSpec, PatchSpec};
use crate::weights::Weights;
use crate::{Error, Inputs, Outputs, Result};

/// `reconstruction` of the pixels from the tokens (SimMIM; Xie et al., 2021), and its `loss` over hidden patches.
#[derive(Debug)]
pub struct Reconstruction {
    decoder: Conv<2>,
    /// Side of the square of pixels that a token becomes.
    stride: i64,
    /// Special tokens before those of patches.
    special: i64,
    patch: [i64; 2],
    channels: i64,
}

impl Reconstruction {
    /// Loads `weight` and `bias`, from tokens of `width` to squares of `stride` pixels, of images that are cut into
    /// `patches`.
    pub fn load(weights: &Weights, patches: &PatchSpec, width: i64, stride: i64) -> Self {
        let decoder = ConvSpec::new(width, stride * stride * patches.channels, [1, 1]);
        Self {
            decoder: Conv::load(weights, decoder),
            stride,
            special: patches.tokens.len() as i64,
            patch: patches.patch,
            channels: patches.channels,
        }
    }
}

/// The side of a square of `count` patches.
fn side(name: &str, count: i64) -> Result<i64> {
    let side = count.isqrt();
    let message = || format!("has {count} patches, which are not a square to reconstruct");
    (side * side == count).then_some(side).ok_or_else(|| Error::input(name, message()))
}

impl Readout for Reconstruction {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let Self { stride, special, channels, .. } = *self;
        let tokens = features.hidden.narrow(1, special, features.hidden.size()[1] - special);
        let size = tokens.size();
        let rows = side("pixel_values", size[1])?;
        let map = tokens.permute([0, 2, 1]).reshape([size[0], size[2], rows, rows]);
        let reconstruction = self.decoder.forward(&map).pixel_shuffle(stride);
        let mut outputs = Outputs::new();
        if let Some(hidden) = inputs.get("bool_masked_pos") {
            let pixels = inputs.need("pixel_values")?;
            if pixels.size() != reconstruction.size() {
                let message = format!(
                    "has shape {:?}, its reconstruction {:?}: {rows} rows of `encoder_stride` ({stride}) pixels",
                    pixels.size(),
                    reconstruction.size()
                );
                return Err(Error::input("pixel_values", message));
            }
            let error = (pixels - &reconstruction).abs();
            let rows = side("bool_masked_pos", hidden.size()[1])?;
            let hidden = hidden.reshape([-1, rows, rows]).to_kind(error.kind());
            let hidden = hidden.repeat_interleave_self_int(self.patch[0], 1, None);
            let hidden = hidden.repeat_interleave_self_int(self.patch[1], 2, None).unsqueeze(1);
            let total = (error * &hidden).sum(None);
            outputs.insert("loss", total / (hidden.sum(None) + 1e-5) / channels as f64);
        }
        Ok(outputs.with("reconstruction", reconstruction))
    }
}
