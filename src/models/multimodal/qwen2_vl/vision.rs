use tch::Tensor;

use super::super::{Projector, grids};
use super::Qwen2VlVisionConfig;
use crate::inputs::{Argument, Dim, Values};
use crate::nn::heads::{Body, Features};
use crate::nn::rope::{Rope, RopeSpec};
use crate::nn::{
    Activation, AttentionSpec, Context, Conv, ConvSpec, LayerSpec, Linear, Mask, MlpSpec, Norm, NormSpec, Stack,
    StackSpec,
};
use crate::weights::{NameTable, Weights};
use crate::{Cache, Error, Inputs, Result};

/// A transformer over the patches of images and videos of any size, which are laid one after the other in a list: patches
/// see those of their own frame, rotated by row and column, and squares of them become one feature in the end.
#[derive(Debug)]
pub struct VisionTransformer {
    patch: Conv<3>,
    /// Channels, frames, height and width of a patch.
    shape: [i64; 4],
    hidden: i64,
    merge: i64,
    rope: Rope,
    stack: Stack,
    merged_norm: Norm,
    merger: Projector,
}

impl VisionTransformer {
    /// Loads `patch_embed`, `blocks.N` and `merger`.
    pub fn load(config: &Qwen2VlVisionConfig, weights: &Weights) -> Self {
        let Qwen2VlVisionConfig { embed_dim: width, spatial_merge_size: merge, .. } = *config;
        let weights = weights.named(names(width));
        let norm = NormSpec::layer(1e-6);
        let kernel = [config.temporal_patch_size, config.patch_size, config.patch_size];
        let patch = ConvSpec { stride: kernel, bias: false, ..ConvSpec::new(config.in_channels, width, kernel) };
        let attention = AttentionSpec::even(width, config.num_heads);
        let layer = LayerSpec::new(attention, MlpSpec::plain(width, width * config.mlp_ratio, config.hidden_act), norm);
        let stack = StackSpec { layers: vec![layer; config.depth as usize], final_norm: None };
        let (merger, square) = (weights.at("merger"), width * merge * merge);
        Self {
            patch: Conv::load(&weights.at("patch"), patch),
            shape: [config.in_channels, kernel[0], kernel[1], kernel[2]],
            hidden: width,
            merge,
            rope: Rope::new(RopeSpec::grid(config.rope_parameters.rope_theta, attention.head_dim), weights.device()),
            stack: Stack::load(&weights, &stack),
            merged_norm: Norm::load(&merger.at("norm"), norm, width),
            merger: Projector::two(
                Linear::load(&merger.at("up"), square, square, true),
                Activation::Gelu,
                Linear::load(&merger.at("down"), square, config.hidden_size, true),
            ),
        }
    }

    /// Numbers of a patch.
    pub fn patch_width(&self) -> i64 {
        self.shape.iter().product()
    }

    /// Rows and columns of patches that become one feature.
    pub fn merge(&self) -> i64 {
        self.merge
    }

    /// The features of `patches` (`[patches, patch width]`) on the grids `grid` (`[images, 3]`):
    /// `[patches / merge², width of a feature]`.
    ///
    /// # Errors
    /// As [`Body::run`].
    pub fn features(&self, patches: &Tensor, grid: &Tensor) -> Result<Tensor> {
        let inputs =
            Inputs::new().with("hidden_states", patches.shallow_clone()).with("grid_thw", grid.shallow_clone());
        let lacks = || Error::input("grid_thw", "has no features");
        self.run(&inputs, None)?.pooled.ok_or_else(lacks)
    }
}

fn names(width: i64) -> NameTable {
    let qkv = ["layers.*.attention.q", "layers.*.attention.k", "layers.*.attention.v"];
    let names = NameTable::new().names(&[
        ("patch", "patch_embed.proj"),
        ("layers", "blocks"),
        ("layers.*.attention.o", "blocks.*.attn.proj"),
        ("layers.*.attention_norm", "blocks.*.norm1"),
        ("layers.*.mlp.up", "blocks.*.mlp.fc1"),
        ("layers.*.mlp.down", "blocks.*.mlp.fc2"),
        ("layers.*.mlp_norm", "blocks.*.norm2"),
        ("merger.norm", "merger.ln_q"),
        ("merger.up", "merger.mlp.0"),
        ("merger.down", "merger.mlp.2"),
    ]);
    names.fused("blocks.*.attn.qkv", &qkv.map(|path| (path, width)), false)
}

/// Row and column of every patch of a frame, square of `merge` rows and columns after square.
fn places([_, rows, columns]: [i64; 3], merge: i64) -> impl Iterator<Item = [i64; 2]> {
    let square = merge * merge;
    (0..rows * columns).map(move |index| {
        let (block, within) = (index / square, index % square);
        let across = columns / merge;
        [block / across * merge + within / merge, block % across * merge + within % merge]
    })
}

impl Body for VisionTransformer {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Exactly, Named};
        let patches = [Named("patches"), Exactly(self.patch_width())];
        vec![
            Argument::required("hidden_states", Values::Float, &patches),
            Argument::required("grid_thw", Values::Integer, &[Named("images"), Exactly(3)]),
        ]
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let (patches, grid) = (inputs.need("hidden_states")?, inputs.need("grid_thw")?);
        let grids = grids("grid_thw", grid, self.merge)?;
        let (given, expected) = (patches.size()[0], grids.iter().map(|[t, h, w]| t * h * w).sum::<i64>());
        if given != expected {
            return Err(Error::input("grid_thw", format!("has {expected} patches, there are {given}")));
        }
        // Frames side by side, the shorter ones padded.
        let frames: Vec<[i64; 3]> = grids.iter().flat_map(|grid| vec![*grid; grid[0] as usize]).collect();
        let length = |[_, h, w]: &[i64; 3]| h * w;
        let (count, longest) = (frames.len() as i64, frames.iter().map(length).max().unwrap_or(0));
        let mut axes = [Vec::new(), Vec::new()];
        let mut real = Vec::new();
        for frame in &frames {
            for place in places(*frame, self.merge) {
                axes.iter_mut().zip(place).for_each(|(axis, place)| axis.push(place));
                real.push(true);
            }
            let filled = real.len().next_multiple_of(longest as usize);
            axes.iter_mut().for_each(|axis| axis.resize(filled, 0));
            real.resize(filled, false);
        }
        let real = Tensor::from_slice(&real).view([count, longest]).to_device(patches.device());
        let positions = Tensor::from_slice(&axes.concat()).view([2, count, longest]).to_device(patches.device());

        let [channels, depth, height, width] = self.shape;
        let x = self.patch.forward(&patches.view([-1, channels, depth, height, width])).view([-1, self.hidden]);
        let padded = Tensor::zeros([count, longest, self.hidden], (x.kind(), x.device()));
        let x = padded.masked_scatter(&real.unsqueeze(-1), &x);
        let rotation = self.rope.at(&positions, x.kind());
        let context = Context::new(Mask::padding(Some(&real)), inputs).with_rotation(rotation);
        let mut passed = self.stack.forward(x, &context, None);
        let list = |x: &Tensor| x.index(&[Some(&real)]);
        passed.hidden_states.iter_mut().for_each(|state| *state = list(state));
        let hidden = list(&passed.last);
        let squares = self.merged_norm.forward(&hidden).view([-1, self.merge * self.merge * self.hidden]);
        let pooled = self.merger.forward(&squares);
        Ok(Features { hidden, pooled: Some(pooled), rest: passed.recorded("") })
    }

    fn width(&self) -> Option<i64> {
        Some(self.hidden)
    }
}
