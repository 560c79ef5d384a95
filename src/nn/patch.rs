use tch::Tensor;
use tch_transformers_native::Weight;

use super::{Conv, ConvSpec};
use crate::weights::Weights;
use crate::{Error, Result};

/// An image as a sequence: special tokens, then one token per patch, with learned positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchSpec {
    /// Channels of the image.
    pub channels: i64,
    /// Width of a token.
    pub hidden: i64,
    /// Height and width of the images that positions are learned for.
    pub image: [i64; 2],
    /// Height and width of a patch.
    pub patch: [i64; 2],
    /// Whether the projection of a patch has a bias.
    pub bias: bool,
    /// Names of the learned tokens before the patches; each has a position.
    pub tokens: &'static [&'static str],
    /// Whether there is a learned token that hidden patches are replaced by.
    pub mask_token: bool,
    /// Whether tokens and positions are stored with a batch dimension of 1.
    pub batched: bool,
}

impl PatchSpec {
    /// Patches side by side after the special `tokens`.
    pub fn new(channels: i64, hidden: i64, image: [i64; 2], patch: [i64; 2], tokens: &'static [&'static str]) -> Self {
        Self { channels, hidden, image, patch, bias: true, tokens, mask_token: false, batched: true }
    }

    /// Rows and columns of patches that an image of `height` and `width` has.
    pub fn grid(&self, [height, width]: [i64; 2]) -> [i64; 2] {
        [height / self.patch[0], width / self.patch[1]]
    }

    /// Patches of an image of the size that positions are learned for.
    pub fn patches(&self) -> i64 {
        self.grid(self.image).iter().product()
    }
}

/// A patch embedding with its parameters.
#[derive(Debug)]
pub struct PatchEmbedding {
    spec: PatchSpec,
    projection: Conv<2>,
    tokens: Vec<Weight>,
    mask: Option<Weight>,
    /// `[tokens + patches, hidden]`, or the same with a batch dimension.
    positions: Weight,
}

impl PatchEmbedding {
    /// Loads `patch`, the special tokens under their names, `positions` and, if wanted, `mask`.
    pub fn load(weights: &Weights, spec: PatchSpec) -> Self {
        let PatchSpec { channels, hidden, patch, bias, batched, .. } = spec;
        let rows = spec.tokens.len() as i64 + spec.patches();
        let token = |name: &str| match batched {
            true => weights.weight(name, &[1, 1, hidden]),
            false => weights.weight(name, &[hidden]),
        };
        let projection = ConvSpec { stride: patch, bias, ..ConvSpec::new(channels, hidden, patch) };
        Self {
            spec,
            projection: Conv::load(&weights.at("patch"), projection),
            tokens: spec.tokens.iter().map(|name| token(name)).collect(),
            mask: spec.mask_token.then(|| token("mask")),
            positions: match batched {
                true => weights.weight("positions", &[1, rows, hidden]),
                false => weights.weight("positions", &[rows, hidden]),
            },
        }
    }

    /// `[batch, channels, height, width]` to `[batch, tokens + patches, hidden]`.
    ///
    /// Patches are replaced by the mask token where `hidden_patches` (`[batch, patches]`) is true. With `interpolate`,
    /// positions are resized to the image; without, the image must have the size that they are learned for.
    ///
    /// # Errors
    /// [`Error::Input`] for an image of another size, and for a mask that does not have one element per patch.
    pub fn forward(&self, image: &Tensor, hidden_patches: Option<&Tensor>, interpolate: bool) -> Result<Tensor> {
        let PatchSpec { hidden, image: [height, width], .. } = self.spec;
        let size = image.size();
        let (batch, given) = (size[0], [size[2], size[3]]);
        if !interpolate && given != self.spec.image {
            let message = format!(
                "the image is {}x{}, the positions are learned for {height}x{width}; set interpolate_pos_encoding to \
                 resize them",
                given[0], given[1]
            );
            return Err(Error::input("pixel_values", message));
        }
        let mut patches = self.projection.forward(image).flatten(2, -1).transpose(1, 2);
        if let (Some(hidden_patches), Some(token)) = (hidden_patches, &self.mask) {
            let (expected, found) = (patches.size()[1], hidden_patches.size()[1]);
            if expected != found {
                let message = format!("marks {found} patches; the image has {expected}");
                return Err(Error::input("bool_masked_pos", message));
            }
            let replaced = hidden_patches.unsqueeze(-1).to_kind(patches.kind());
            patches = patches * (replaced.ones_like() - &replaced) + &**token * replaced;
        }
        let mut sequence: Vec<_> = self.tokens.iter().map(|token| token.expand([batch, 1, hidden], false)).collect();
        sequence.push(patches);
        let positions = if interpolate { self.resized(given)? } else { self.positions.shallow_clone() };
        Ok(Tensor::cat(&sequence, 1) + positions)
    }

    /// The positions for an image of height and width `given`; those of special tokens stay as they are.
    fn resized(&self, given: [i64; 2]) -> Result<Tensor> {
        let hidden = self.spec.hidden;
        let (special, patches) = (self.spec.tokens.len() as i64, self.spec.patches());
        let [rows, columns] = self.spec.grid(given);
        if rows * columns == patches && given[0] == given[1] {
            return Ok(self.positions.shallow_clone());
        }
        // The learned grid counts as square even where the configured image is not.
        let side = patches.isqrt();
        if side * side != patches {
            let message = format!("positions of {patches} patches are not a square grid and cannot be resized");
            return Err(Error::input("interpolate_pos_encoding", message));
        }
        let table = self.positions.view([special + patches, hidden]);
        let learned = table.narrow(0, special, patches).view([1, side, side, hidden]).permute([0, 3, 1, 2]);
        let resized = learned.upsample_bicubic2d([rows, columns], false, None, None);
        let resized = resized.permute([0, 2, 3, 1]).reshape([rows * columns, hidden]);
        Ok(Tensor::cat(&[table.narrow(0, 0, special), resized], 0))
    }
}
