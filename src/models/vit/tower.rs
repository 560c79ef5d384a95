use crate::inputs::{Argument, Dim, Values};
use crate::nn::heads::{Body, Features};
use crate::nn::{Context, Mask, Norm, NormSpec, PatchEmbedding, PatchSpec, Pooling, PoolingSpec, Stack, StackSpec};
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, Result};

/// A transformer over the patches of an image.
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
}

/// A [`VisionSpec`] with its parameters.
#[derive(Debug)]
pub struct VisionTower {
    patches: PatchEmbedding,
    embedding_norm: Option<Norm>,
    stack: Stack,
    pooling: Option<Pooling>,
    /// Whether an attention mask is for this tower, and not for the text beside it.
    attention_mask: bool,
    width: i64,
    arguments: Vec<Argument>,
}

impl VisionTower {
    /// Loads the patch embedding, `embedding_norm`, `layers.N`, `norm` and `pooler`, as far as `spec` has them.
    pub fn load(weights: &Weights, spec: &VisionSpec) -> Self {
        let width = spec.patches.hidden;
        Self {
            patches: PatchEmbedding::load(weights, spec.patches),
            embedding_norm: spec.embedding_norm.map(|norm| Norm::load(&weights.at("embedding_norm"), norm, width)),
            stack: Stack::load(weights, &spec.stack),
            pooling: spec.pooling.map(|pooling| Pooling::load(&weights.at("pooler"), pooling, width)),
            attention_mask: spec.attention_mask,
            width,
            arguments: arguments(spec),
        }
    }
}

fn arguments(spec: &VisionSpec) -> Vec<Argument> {
    use Dim::{AtLeast, Exactly, Named};
    let PatchSpec { channels, patch: [height, width], mask_token, .. } = spec.patches;
    let image = [Named("batch"), Exactly(channels), AtLeast("height", height), AtLeast("width", width)];
    let mut arguments = vec![Argument::required("pixel_values", Values::Float, &image)];
    if spec.attention_mask {
        arguments.push(Argument::optional("attention_mask", Values::Mask, &[Named("batch"), Named("tokens")]));
    }
    if mask_token {
        arguments.push(Argument::optional("bool_masked_pos", Values::Mask, &[Named("batch"), Named("patches")]));
    }
    arguments
}

impl Body for VisionTower {
    fn arguments(&self) -> Vec<Argument> {
        self.arguments.clone()
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let image = inputs.need("pixel_values")?;
        let interpolate = inputs.is_set("interpolate_pos_encoding");
        let x = self.patches.forward(image, inputs.get("bool_masked_pos"), interpolate)?;
        let x = self.embedding_norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| norm.forward(&x));
        let attention_mask = inputs.get("attention_mask").filter(|_| self.attention_mask);
        let tokens = x.size()[1];
        if let Some(given) = attention_mask.map(|mask| mask.size()[1]).filter(|given| *given != tokens) {
            let message = format!("covers {given} tokens; the image has {tokens}, special ones included");
            return Err(Error::input("attention_mask", message));
        }
        let passed = self.stack.forward(x, &Context::new(Mask::padding(attention_mask), inputs), None);
        let hidden = passed.last.shallow_clone();
        let pooled = self.pooling.as_ref().map(|pooling| pooling.forward(&hidden));
        Ok(Features { hidden, pooled, rest: passed.recorded("") })
    }
    fn width(&self) -> Option<i64> {
        Some(self.width)
    }
}
