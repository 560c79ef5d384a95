use tch::{Kind, Tensor};

use crate::inputs::{Argument, Dim, Values};
use crate::nn::heads::{Body, Features};
use crate::nn::{
    Context, GridBias, GridBiasSpec, LayerSpec, Mask, Norm, NormSpec, PatchEmbedding, PatchSpec, Pooling, PoolingSpec,
    Positions, Stack, StackSpec,
};
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, Result};

/// A transformer over the patches of an image, or of a spectrogram.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionSpec {
    /// How the image becomes a sequence.
    pub patches: PatchSpec,
    /// Normalises what goes into the first layer.
    pub embedding_norm: Option<NormSpec>,
    /// The layers.
    pub stack: StackSpec,
    /// How one vector is made of the last hidden states.
    pub pooling: Option<PoolingSpec>,
    /// Whether callers may say which tokens are seen.
    pub attention_mask: bool,
    /// Biases of scores between the patches.
    pub bias: Option<PatchBias>,
    /// Whether the input is a spectrogram, `input_values` of `[batch, frames, bins]`: an image whose height are the bins.
    pub spectrogram: bool,
    /// Whether hidden states of every layer are recorded for a head, whatever the caller wants.
    pub every_layer: bool,
}

impl VisionSpec {
    /// Patches through layers, and nothing else.
    pub fn new(patches: PatchSpec, stack: StackSpec) -> Self {
        Self {
            patches,
            embedding_norm: None,
            stack,
            pooling: None,
            attention_mask: false,
            bias: None,
            spectrogram: false,
            every_layer: false,
        }
    }

    /// The same with a change to the patch embedding.
    pub fn with_patches(mut self, change: impl FnOnce(&mut PatchSpec)) -> Self {
        change(&mut self.patches);
        self
    }

    /// The same with a change to every layer.
    pub fn with_layers(mut self, change: impl FnMut(&mut LayerSpec)) -> Self {
        self.stack.layers.iter_mut().for_each(change);
        self
    }

    /// The same with one vector made of the last hidden states.
    pub fn pooled(self, pooling: PoolingSpec) -> Self {
        Self { pooling: Some(pooling), ..self }
    }

    /// The same with the hidden states of every layer, for heads that read them.
    pub fn recording(self) -> Self {
        Self { every_layer: true, ..self }
    }
}

/// Biases of attention scores between patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchBias {
    /// One table.
    pub table: GridBiasSpec,
    /// Whether there is one that all layers share.
    pub shared: bool,
    /// Whether each layer has one of its own.
    pub own: bool,
}

/// A [`VisionSpec`] with its parameters.
#[derive(Debug)]
pub struct VisionTower {
    spec: VisionSpec,
    patches: PatchEmbedding,
    embedding_norm: Option<Norm>,
    stack: Stack,
    pooling: Option<Pooling>,
    shared_bias: Option<GridBias>,
    /// One per layer, or none.
    own_biases: Vec<GridBias>,
}

impl VisionTower {
    /// Loads the patch embedding, `embedding_norm`, `layers.N`, `norm`, `pooler`, `bias` and `layers.N.bias`, as far as
    /// `spec` has them.
    pub fn load(weights: &Weights, spec: &VisionSpec) -> Self {
        let width = spec.patches.hidden;
        let own = spec.bias.filter(|bias| bias.own);
        let own_bias =
            |layer: usize| own.map(|bias| GridBias::load(&weights.at(format!("layers.{layer}.bias")), bias.table));
        Self {
            patches: PatchEmbedding::load(weights, spec.patches),
            embedding_norm: spec.embedding_norm.map(|norm| Norm::load(&weights.at("embedding_norm"), norm, width)),
            stack: Stack::load(weights, &spec.stack),
            pooling: spec.pooling.map(|pooling| Pooling::load(&weights.at("pooler"), pooling, width)),
            shared_bias: spec
                .bias
                .filter(|bias| bias.shared)
                .map(|bias| GridBias::load(&weights.at("bias"), bias.table)),
            own_biases: (0..spec.stack.layers.len()).filter_map(own_bias).collect(),
            spec: spec.clone(),
        }
    }

    /// `[batch, channels, height, width]`.
    fn image(&self, inputs: &Inputs) -> Result<Tensor> {
        match self.spec.spectrogram {
            true => Ok(inputs.need("input_values")?.unsqueeze(1).transpose(2, 3)),
            false => Ok(inputs.need("pixel_values")?.shallow_clone()),
        }
    }

    /// Which patches are no padding, `[batch, rows, columns]`, where images may be padded.
    fn real(&self, inputs: &Inputs, image: &Tensor) -> Result<Option<Tensor>> {
        if self.spec.patches.positions != Positions::Within {
            return Ok(None);
        }
        let size = image.size();
        let [rows, columns] = self.spec.patches.grid([size[2], size[3]]);
        match inputs.get("patch_attention_mask") {
            Some(mask) if mask.size()[1..] != [rows, columns] => {
                let message = format!("covers {:?} patches; the images have {rows}x{columns}", &mask.size()[1..]);
                Err(Error::input("patch_attention_mask", message))
            }
            Some(mask) => Ok(Some(mask.to_kind(Kind::Bool))),
            None => Ok(Some(Tensor::ones([size[0], rows, columns], (Kind::Bool, image.device())))),
        }
    }

    /// What the layers see of an image of height and width `size`, whose sequence is `x`, of which `real` is no padding.
    fn context(&self, inputs: &Inputs, size: [i64; 2], x: &Tensor, real: Option<&Tensor>) -> Result<Context> {
        let real = real.map(|real| real.flatten(1, 2));
        let mask = inputs.get("attention_mask").filter(|_| self.spec.attention_mask).or(real.as_ref());
        let tokens = x.size()[1];
        if let Some(given) = mask.map(|mask| mask.size()[1]).filter(|given| *given != tokens) {
            let message = format!("covers {given} tokens; the input has {tokens}, special ones included");
            return Err(Error::input("attention_mask", message));
        }
        let context = || {
            let mut context = Context::new(Mask::padding(mask), inputs);
            context.hidden_states |= self.spec.every_layer;
            context
        };
        let grid = self.spec.patches.grid(size);
        let shared = self.shared_bias.as_ref().map(|bias| bias.resized(grid));
        let biased = |own: &GridBias| {
            let own = own.resized(grid);
            context().with_bias(shared.as_ref().map_or_else(|| own.shallow_clone(), |shared| &own + shared))
        };
        let layers: Vec<_> = (0..self.own_biases.len()).collect();
        let mut context = match (Context::by_layer(self.own_biases.iter().map(biased), &layers), &shared) {
            (Some(by_layer), _) => by_layer,
            (None, Some(shared)) => context().with_bias(shared.shallow_clone()),
            (None, None) => context(),
        };
        context.between = self.patches.layer_positions(size)?;
        Ok(context)
    }
}

impl Body for VisionTower {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{AtLeast, Exactly, Named};
        let PatchSpec { channels, image, patch, mask_token, padded, .. } = self.spec.patches;
        let [height, width] = if padded { [1; 2] } else { patch };
        let mut arguments = vec![match self.spec.spectrogram {
            true => {
                let shape = [Named("batch"), Exactly(image[1]), Exactly(image[0])];
                Argument::required("input_values", Values::Float, &shape)
            }
            false => {
                let shape = [Named("batch"), Exactly(channels), AtLeast("height", height), AtLeast("width", width)];
                Argument::required("pixel_values", Values::Float, &shape)
            }
        }];
        if self.spec.attention_mask {
            arguments.push(Argument::optional("attention_mask", Values::Mask, &[Named("batch"), Named("tokens")]));
        }
        if self.spec.patches.positions == Positions::Within {
            let patches = [Named("batch"), Named("rows"), Named("columns")];
            arguments.push(Argument::optional("patch_attention_mask", Values::Mask, &patches));
        }
        if mask_token {
            arguments.push(Argument::optional("bool_masked_pos", Values::Mask, &[Named("batch"), Named("patches")]));
        }
        arguments
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let image = self.image(inputs)?;
        let size = [image.size()[2], image.size()[3]];
        let interpolate = inputs.is_set("interpolate_pos_encoding");
        let real = self.real(inputs, &image)?;
        let x = match &real {
            Some(real) => self.patches.forward_within(&image, real),
            None => self.patches.forward(&image, inputs.get("bool_masked_pos"), interpolate)?,
        };
        let x = self.embedding_norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| norm.forward(&x));
        let context = self.context(inputs, size, &x, real.as_ref())?;
        let passed = self.stack.forward(x, &context, None);
        let hidden = passed.last.shallow_clone();
        let pooled = self.pooling.as_ref().map(|pooling| pooling.forward(&hidden));
        Ok(Features { hidden, pooled, rest: passed.recorded("") })
    }

    fn width(&self) -> Option<i64> {
        Some(self.spec.patches.hidden)
    }
}
