use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::{Conv, ConvSpec, Norm, NormSpec};
use crate::weights::Weights;
use crate::{Error, Result};

/// An image as a sequence: special tokens, one token per patch, perhaps more special tokens; with positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PatchSpec {
    /// Channels of the image.
    pub channels: i64,
    /// Width of a token.
    pub hidden: i64,
    /// Height and width of the images that positions are learned for.
    pub image: [i64; 2],
    /// Height and width of a patch.
    pub patch: [i64; 2],
    /// Steps from patch to patch, downwards and to the right; patches overlap where they are larger.
    pub stride: [i64; 2],
    /// Whether images are filled up with zeros below and on the right to whole patches, or cut.
    pub padded: bool,
    /// Whether the projection of a patch has a bias.
    pub bias: bool,
    /// Normalises the patches, before masks and positions.
    pub norm: Option<NormSpec>,
    /// Names of the learned tokens before the patches; each has a position.
    pub tokens: &'static [&'static str],
    /// Name and number of the learned tokens after the patches; each has a position.
    pub after: Option<(&'static str, i64)>,
    /// Whether there is a learned token that hidden patches are replaced by.
    pub mask_token: bool,
    /// Whether it is stored as `[1, hidden]`.
    pub flat_mask: bool,
    /// Whether tokens and positions are stored with a batch dimension of 1.
    pub batched: bool,
    /// Which images the learned positions serve.
    pub positions: Positions,
    /// How many layers have further learned positions, added to what goes into them.
    pub layer_positions: i64,
}

/// Which images learned positions serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// There are none.
    None,
    /// Those of the size they are learned for.
    Fixed,
    /// The same, and others where the caller asks for it: resized as a square grid.
    OnRequest,
    /// All: resized as a square grid.
    Square,
    /// All: resized as the grid of the images they are learned for.
    Grid,
    /// All, padded ones too: a patch has the position that lies where it does in what is real of its image (NaViT;
    /// Dehghani et al., 2023).
    Within,
}

impl PatchSpec {
    /// Patches side by side after the special `tokens`, with positions that are resized on request.
    pub fn new(channels: i64, hidden: i64, image: [i64; 2], patch: [i64; 2], tokens: &'static [&'static str]) -> Self {
        Self {
            channels,
            hidden,
            image,
            patch,
            stride: patch,
            padded: false,
            bias: true,
            norm: None,
            tokens,
            after: None,
            mask_token: false,
            flat_mask: false,
            batched: true,
            positions: Positions::OnRequest,
            layer_positions: 0,
        }
    }

    /// Rows and columns of patches that an image of `height` and `width` has.
    pub fn grid(&self, image: [i64; 2]) -> [i64; 2] {
        [0, 1].map(|at| match self.padded {
            true => (image[at] + self.patch[at] - 1) / self.patch[at],
            false => (image[at] - self.patch[at]) / self.stride[at] + 1,
        })
    }

    /// Patches of an image of the size that positions are learned for.
    pub fn patches(&self) -> i64 {
        self.grid(self.image).iter().product()
    }

    /// Special tokens after the patches.
    fn tail(&self) -> i64 {
        self.after.map_or(0, |(_, count)| count)
    }
}

/// A patch embedding with its parameters.
#[derive(Debug)]
pub struct PatchEmbedding {
    spec: PatchSpec,
    projection: Conv<2>,
    norm: Option<Norm>,
    tokens: Vec<Weight>,
    after: Option<Weight>,
    mask: Option<Weight>,
    /// `[tokens + patches + after, hidden]`, or the same with a batch dimension.
    positions: Option<Weight>,
    /// `[layers, 1, tokens + patches + after, hidden]`.
    layer_positions: Option<Weight>,
}

impl PatchEmbedding {
    /// Loads `patch`, the special tokens under their names, and, as far as there are such, `patch_norm`, `positions`,
    /// `layer_positions` and `mask`.
    pub fn load(weights: &Weights, spec: PatchSpec) -> Self {
        let PatchSpec { channels, hidden, patch, stride, bias, batched, .. } = spec;
        let rows = spec.tokens.len() as i64 + spec.patches() + spec.tail();
        let token = |name: &str| match batched {
            true => weights.weight(name, &[1, 1, hidden]),
            false => weights.weight(name, &[hidden]),
        };
        let positions = || match batched {
            true => weights.weight("positions", &[1, rows, hidden]),
            false => weights.weight("positions", &[rows, hidden]),
        };
        Self {
            spec,
            projection: Conv::load(
                &weights.at("patch"),
                ConvSpec { stride, bias, ..ConvSpec::new(channels, hidden, patch) },
            ),
            norm: spec.norm.map(|norm| Norm::load(&weights.at("patch_norm"), norm, hidden)),
            tokens: spec.tokens.iter().map(|name| token(name)).collect(),
            after: spec.after.map(|(name, count)| weights.weight(name, &[1, count, hidden])),
            mask: match (spec.mask_token, spec.flat_mask) {
                (false, _) => None,
                (true, false) => Some(token("mask")),
                (true, true) => Some(weights.weight("mask", &[1, hidden])),
            },
            positions: (spec.positions != Positions::None).then(positions),
            layer_positions: weights.weight_if(
                spec.layer_positions > 0,
                "layer_positions",
                &[spec.layer_positions, 1, rows, hidden],
            ),
        }
    }

    /// `[batch, channels, height, width]` to `[batch, tokens + patches + after, hidden]`.
    ///
    /// Patches are replaced by the mask token where `hidden_patches` (`[batch, patches]`) is true. `interpolate` is the
    /// request that [`Positions::OnRequest`] waits for.
    ///
    /// # Errors
    /// [`Error::Input`] for an image that has no positions, and for a mask that does not have one element per patch.
    pub fn forward(&self, image: &Tensor, hidden_patches: Option<&Tensor>, interpolate: bool) -> Result<Tensor> {
        let size = image.size();
        let (batch, given) = (size[0], [size[2], size[3]]);
        let image = if self.spec.padded { self.filled(image) } else { image.shallow_clone() };
        let mut patches = self.projection.forward(&image).flatten(2, -1).transpose(1, 2);
        if let Some(norm) = &self.norm {
            patches = norm.forward(&patches);
        }
        if let (Some(hidden_patches), Some(token)) = (hidden_patches, &self.mask) {
            let (expected, found) = (patches.size()[1], hidden_patches.size()[1]);
            if expected != found {
                let message = format!("marks {found} patches; the image has {expected}");
                return Err(Error::input("bool_masked_pos", message));
            }
            let replaced = hidden_patches.unsqueeze(-1).to_kind(patches.kind());
            patches = patches * (replaced.ones_like() - &replaced) + &**token * replaced;
        }
        let learned = |token: &Weight, count: i64| token.expand([batch, count, self.spec.hidden], false);
        let mut sequence: Vec<_> = self.tokens.iter().map(|token| learned(token, 1)).collect();
        sequence.push(patches);
        sequence.extend(self.after.iter().map(|tokens| learned(tokens, self.spec.tail())));
        let sequence = Tensor::cat(&sequence, 1);
        Ok(match self.positions(given, interpolate)? {
            Some(positions) => sequence + positions,
            None => sequence,
        })
    }

    /// As [`PatchEmbedding::forward`] for [`Positions::Within`]: `real` (`[batch, rows, columns]`) says which patches are no
    /// padding, which is on the right and at the bottom.
    pub fn forward_within(&self, image: &Tensor, real: &Tensor) -> Tensor {
        let patches = self.projection.forward(image).flatten(2, -1).transpose(1, 2);
        let Some(table) = &self.positions else { return patches };
        let options = (Kind::Float, image.device());
        let [side, _] = self.spec.grid(self.spec.image);
        let step = 1.0 / side as f64;
        let bounds = Tensor::arange_start_step(step, 1.0, step, options);
        // Where along the first row, or column, every patch begins, as a part of the whole.
        let buckets = |line: Tensor| {
            let steps = line.sum_dim_intlist([1].as_slice(), true, Kind::Int64).to_kind(Kind::Float).reciprocal();
            let begins = Tensor::arange(line.size()[1], options) * steps;
            begins.clamp_max(1.0 - 1e-6).bucketize(&bounds, false, true)
        };
        let (rows, columns) = (buckets(real.select(2, 0)), buckets(real.select(1, 0)));
        let positions = (rows.unsqueeze(2) * side + columns.unsqueeze(1)).flatten(1, 2);
        let positions = positions.masked_fill(&real.flatten(1, 2).logical_not(), 0);
        patches + Tensor::embedding(table, &positions, -1, false, false)
    }

    /// What is added to the input of each layer that has positions of its own, `[1, tokens + patches + after, hidden]`
    /// each, for an image of height and width `given`.
    ///
    /// # Errors
    /// As [`PatchEmbedding::forward`].
    pub fn layer_positions(&self, given: [i64; 2]) -> Result<Vec<Tensor>> {
        let Some(table) = &self.layer_positions else { return Ok(Vec::new()) };
        let resized = self.resized(&table.squeeze_dim(1), given)?;
        Ok((0..self.spec.layer_positions).map(|layer| resized.narrow(0, layer, 1)).collect())
    }

    /// `image` with zeros below and on the right up to whole patches.
    fn filled(&self, image: &Tensor) -> Tensor {
        let (size, [height, width]) = (image.size(), self.spec.patch);
        let missing = |side: i64, patch: i64| (patch - side % patch) % patch;
        image.constant_pad_nd([0, missing(size[3], width), 0, missing(size[2], height)])
    }

    /// The positions for an image of height and width `given`.
    fn positions(&self, given: [i64; 2], interpolate: bool) -> Result<Option<Tensor>> {
        let Some(positions) = &self.positions else { return Ok(None) };
        let fixed = match self.spec.positions {
            Positions::None | Positions::Square | Positions::Grid | Positions::Within => false,
            Positions::Fixed => true,
            Positions::OnRequest => !interpolate,
        };
        if !fixed {
            let table = if self.spec.batched { positions.shallow_clone() } else { positions.unsqueeze(0) };
            return self.resized(&table, given).map(Some);
        }
        let [height, width] = self.spec.image;
        if given != self.spec.image {
            let hint = match self.spec.positions {
                Positions::OnRequest => "; set interpolate_pos_encoding to resize them",
                _ => "",
            };
            let message = format!("is {}x{}, the positions are learned for {height}x{width}{hint}", given[0], given[1]);
            return Err(Error::input("pixel_values", message));
        }
        Ok(Some(positions.shallow_clone()))
    }

    /// The positions in each of `tables` (`[tables, tokens + patches + after, hidden]`) for an image of height and width
    /// `given`; those of special tokens stay as they are.
    fn resized(&self, tables: &Tensor, given: [i64; 2]) -> Result<Tensor> {
        let hidden = self.spec.hidden;
        let (before, patches, after) = (self.spec.tokens.len() as i64, self.spec.patches(), self.spec.tail());
        let [rows, columns] = self.spec.grid(given);
        let learned = match self.spec.positions {
            Positions::Grid => self.spec.grid(self.spec.image),
            _ if rows * columns == patches && given[0] == given[1] => return Ok(tables.shallow_clone()),
            // The learned grid counts as square even where the configured image is not.
            _ => [patches.isqrt(); 2],
        };
        if learned[0] * learned[1] != patches {
            let message = format!("positions of {patches} patches are not a square grid and cannot be resized");
            let asked = self.spec.positions == Positions::OnRequest;
            return Err(Error::input(if asked { "interpolate_pos_encoding" } else { "pixel_values" }, message));
        }
        let grid = tables.narrow(1, before, patches).view([-1, learned[0], learned[1], hidden]).permute([0, 3, 1, 2]);
        // Half precision would shift what is interpolated.
        let kind = if grid.kind() == Kind::Double { Kind::Double } else { Kind::Float };
        let resized = grid.to_kind(kind).upsample_bicubic2d([rows, columns], false, None, None).to_kind(tables.kind());
        let resized = resized.permute([0, 2, 3, 1]).reshape([-1, rows * columns, hidden]);
        Ok(Tensor::cat(&[tables.narrow(1, 0, before), resized, tables.narrow(1, before + patches, after)], 1))
    }
}
