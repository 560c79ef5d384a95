use tch::Tensor;

use crate::inputs::{Argument, Dim, Values};
use crate::nn::heads::{Body, Features};
use crate::nn::{
    Context, LayerSpec, Linear, Mask, MixerSpec, Norm, NormSpec, PatchEmbedding, PatchSpec, Pooling, Stack, StackSpec,
};
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, Outputs, Result};

/// A transformer in stages: layers over a map, then four neighbouring patches of it merged into one.
#[derive(Debug, Clone, PartialEq)]
pub struct SwinSpec {
    /// How the image becomes the first map.
    pub patches: PatchSpec,
    /// The layers of each stage, one or more.
    pub stages: Vec<Vec<LayerSpec>>,
    /// Normalises four patches side by side before they are merged.
    pub merging_norm: NormSpec,
    /// Normalises the last map.
    pub final_norm: Option<NormSpec>,
    /// Whether the recorded maps of stages are those before merging, or after it.
    pub before_merging: bool,
}

impl SwinSpec {
    /// The same with windows that shift even where they are as large as a map, or larger.
    pub fn always_shifted(mut self) -> Self {
        for layer in self.stages.iter_mut().flatten() {
            if let MixerSpec::Windows(windows) = &mut layer.mixer {
                windows.always_shifted = true;
            }
        }
        self
    }

    /// The smallest map that stage `index` takes: its window, where nothing may be larger than the map.
    fn smallest(&self, index: usize) -> i64 {
        match self.stages[index].first().map(|layer| &layer.mixer) {
            Some(MixerSpec::Windows(windows)) if !windows.always_shifted => windows.window,
            _ => 1,
        }
    }
}

/// Four neighbouring patches as one.
#[derive(Debug)]
struct Merging {
    norm: Norm,
    reduction: Linear,
}

impl Merging {
    /// Loads `norm` and `reduction`, from patches of `width` to twice that.
    fn load(weights: &Weights, norm: NormSpec, width: i64) -> Self {
        Self {
            norm: Norm::load(&weights.at("norm"), norm, 4 * width),
            reduction: Linear::load(&weights.at("reduction"), 4 * width, 2 * width, false),
        }
    }

    /// `[batch, rows * columns, width]` to half the rows and columns, rounded up, of twice the width.
    fn forward(&self, x: &Tensor, [rows, columns]: [i64; 2]) -> Tensor {
        let size = x.size();
        let map = x.view([size[0], rows, columns, size[2]]).constant_pad_nd([0, 0, 0, columns % 2, 0, rows % 2]);
        let corner = |row, column| map.slice(1, row, None, 2).slice(2, column, None, 2);
        let four = Tensor::cat(&[corner(0, 0), corner(1, 0), corner(0, 1), corner(1, 1)], -1).flatten(1, 2);
        self.reduction.forward(&self.norm.forward(&four))
    }
}

#[derive(Debug)]
struct Stage {
    layers: Stack,
    merging: Option<Merging>,
}

/// A [`SwinSpec`] with its parameters.
#[derive(Debug)]
pub struct SwinTower {
    spec: SwinSpec,
    patches: PatchEmbedding,
    stages: Vec<Stage>,
    norm: Option<Norm>,
}

/// What a tower makes of an image.
#[derive(Debug)]
pub struct SwinPassed {
    /// The last tokens, normalised where there is a last norm; `[batch, tokens, width]`.
    pub last: Tensor,
    /// Tokens of what goes into the first stage, and of what each makes.
    pub hidden_states: Vec<Tensor>,
    /// The same as maps `[batch, width, rows, columns]`, of stages before merging where the spec says so.
    pub maps: Vec<Tensor>,
    /// Attention weights of the last layer of each stage, where they are wanted.
    pub attentions: Vec<Tensor>,
}

fn map(x: &Tensor, [rows, columns]: [i64; 2]) -> Tensor {
    let size = x.size();
    x.view([size[0], rows, columns, size[2]]).permute([0, 3, 1, 2]).contiguous()
}

impl SwinTower {
    /// Loads the patch embedding, `stages.N.layers.N`, `stages.N.merging` for all but the last, and `norm`.
    pub fn load(weights: &Weights, spec: SwinSpec) -> Self {
        let width = |layers: &[LayerSpec]| layers.first().map_or(spec.patches.hidden, |layer| layer.hidden);
        let stage = |(index, layers): (usize, &Vec<LayerSpec>)| {
            let place = weights.at("stages").layer(index);
            let merges = index + 1 < spec.stages.len();
            Stage {
                layers: Stack::load(&place, &StackSpec { layers: layers.clone(), final_norm: None }),
                merging: merges.then(|| Merging::load(&place.at("merging"), spec.merging_norm, width(layers))),
            }
        };
        let last = spec.stages.last().map_or(spec.patches.hidden, |layers| width(layers));
        Self {
            patches: PatchEmbedding::load(weights, spec.patches),
            stages: spec.stages.iter().enumerate().map(stage).collect(),
            norm: spec.final_norm.map(|norm| Norm::load(&weights.at("norm"), norm, last)),
            spec,
        }
    }

    /// Passes the image among `inputs` through all stages.
    ///
    /// # Errors
    /// [`Error::Input`] where a window does not fit into a map.
    pub fn pass(&self, inputs: &Inputs) -> Result<SwinPassed> {
        let image = inputs.need("pixel_values")?;
        let interpolate = inputs.is_set("interpolate_pos_encoding");
        let mut x = self.patches.forward(image, inputs.get("bool_masked_pos"), interpolate)?;
        let mut grid = self.spec.patches.grid([image.size()[2], image.size()[3]]);
        let (mut hidden_states, mut maps, mut attentions) = (vec![x.shallow_clone()], vec![map(&x, grid)], vec![]);
        for (index, stage) in self.stages.iter().enumerate() {
            let smallest = self.spec.smallest(index);
            if grid.iter().any(|side| *side < smallest) {
                let message = format!(
                    "is too small: stage {index} has {}x{} patches, its windows {smallest}x{smallest}",
                    grid[0], grid[1]
                );
                return Err(Error::input("pixel_values", message));
            }
            let mut context = Context::new(Mask::None, inputs).on_grid(grid);
            context.hidden_states = false;
            let mut passed = stage.layers.forward(x, &context, None);
            attentions.extend(passed.attentions.pop());
            let before = self.spec.before_merging.then(|| map(&passed.last, grid));
            x = passed.last;
            if let Some(merging) = &stage.merging {
                x = merging.forward(&x, grid);
                grid = grid.map(|side| (side + 1) / 2);
            }
            maps.push(before.unwrap_or_else(|| map(&x, grid)));
            hidden_states.push(x.shallow_clone());
        }
        let last = self.norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| norm.forward(&x));
        Ok(SwinPassed { last, hidden_states, maps, attentions })
    }
}

impl Body for SwinTower {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Exactly, Named};
        let image = [Named("batch"), Exactly(self.spec.patches.channels), Named("height"), Named("width")];
        let mut arguments = vec![Argument::required("pixel_values", Values::Float, &image)];
        if self.spec.patches.mask_token {
            arguments.push(Argument::optional("bool_masked_pos", Values::Mask, &[Named("batch"), Named("patches")]));
        }
        arguments
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let passed = self.pass(inputs)?;
        let mut rest = Outputs::new();
        if inputs.is_set("output_hidden_states") {
            rest.insert_list("hidden_states", passed.hidden_states);
            rest.insert_list("reshaped_hidden_states", passed.maps);
        }
        rest.insert_list("attentions", passed.attentions);
        let pooled = Some(Pooling::Mean { from: 0 }.forward(&passed.last));
        Ok(Features { hidden: passed.last, pooled, rest })
    }

    fn width(&self) -> Option<i64> {
        self.spec.stages.last()?.first().map(|layer| layer.hidden)
    }
}
