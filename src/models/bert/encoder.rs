use tch::Tensor;

use super::{LayersSpec, Relative};
use crate::nn::{Context, ConvBranch, Layer, Mask, Passed, RelativeBias, RelativeTable, Stack, StackSpec};
use crate::weights::Weights;
use crate::{Cache, Inputs, LayerFormula};

/// The layers of an encoder with their parameters, for whatever vectors enter them.
#[derive(Debug)]
pub struct Encoder {
    /// The first layer where a convolution stands beside it, and that one.
    first: Option<(Stack, ConvBranch)>,
    stack: Stack,
    relative: Option<RelativePlaces>,
    causal: bool,
    blind_padding: bool,
    masks_memory: bool,
}

#[derive(Debug)]
enum RelativePlaces {
    Bias(RelativeBias),
    Vectors(RelativeTable),
}

impl Encoder {
    /// Loads `layers.N` (of groups `layers.N.layers.M`), and where there are such `norm`, `relative`, `branch`.
    pub fn load(weights: &Weights, spec: &LayersSpec) -> Self {
        let stack = match &spec.sharing {
            None => Stack::load(weights, &StackSpec { layers: spec.layers.clone(), final_norm: spec.final_norm }),
            Some(sharing) => {
                let (list, inner) = (weights.at("layers"), sharing.inner.max(1));
                let place = |index| list.layer(index / inner).at("layers").layer(index % inner);
                let layers = spec.layers.iter().enumerate().map(|(index, layer)| Layer::load(&place(index), layer));
                let order = sharing.groups.iter().flat_map(|group| group * inner..(group + 1) * inner);
                Stack::shared(layers.collect(), order.collect())
            }
        };
        let (first, stack) = match spec.conv.map(|conv| ConvBranch::load(&weights.at("branch"), conv)) {
            Some(branch) => {
                let (first, rest) = stack.split_first();
                (Some((first, branch)), rest)
            }
            None => (None, stack),
        };
        let at = weights.at("relative");
        let relative = spec.relative.map(|relative| match relative {
            Relative::Bias(spec, rows) => RelativePlaces::Bias(RelativeBias::load_longer(&at, spec, rows)),
            Relative::Vectors(spec) => RelativePlaces::Vectors(RelativeTable::load(&at, spec)),
        });
        let LayersSpec { causal, blind_padding, masks_memory, .. } = *spec;
        Self { first, stack, relative, causal, blind_padding, masks_memory }
    }

    /// Passes `x` (`[batch, tokens, hidden]`) through the layers; reads `attention_mask`, `encoder_hidden_states`,
    /// `encoder_attention_mask` of `inputs`. A cache serves causal layers only.
    pub fn forward(&self, x: Tensor, inputs: &Inputs, cache: Option<&mut Cache>) -> Passed {
        let cache = cache.filter(|_| self.causal);
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let real = inputs.get("attention_mask");
        let context = self.context(&x, inputs, real, past);
        let Some((first, branch)) = &self.first else { return self.stack.forward(x, &context, cache) };
        let mut passed = first.forward(x.shallow_clone(), &context, None);
        passed.last = branch.forward(&x, &passed.last, real);
        let rest = self.stack.forward(passed.last.shallow_clone(), &context, None);
        passed.then(rest)
    }

    /// What a cache keeps of the layers.
    pub fn cached(&self) -> Vec<LayerFormula> {
        if self.causal { self.stack.cached() } else { Vec::new() }
    }

    /// What all layers share.
    fn context(&self, x: &Tensor, inputs: &Inputs, real: Option<&Tensor>, past: i64) -> Context {
        let tokens = x.size()[1];
        let mask = match (self.causal, self.blind_padding) {
            (true, _) => Mask::causal(real, tokens, past, None, x),
            (false, true) => Mask::pairs(real),
            (false, false) => Mask::padding(real),
        };
        let memory = inputs.get("encoder_hidden_states").map(Tensor::shallow_clone);
        let real_memory = inputs.get("encoder_attention_mask").filter(|_| self.masks_memory);
        let context = Context::new(mask, inputs).with_memory(memory, Mask::padding(real_memory));
        match &self.relative {
            Some(RelativePlaces::Bias(bias)) => context.with_bias(bias.forward(tokens, past + tokens, past)),
            Some(RelativePlaces::Vectors(table)) => context.with_relative(table.forward(tokens)),
            None => context,
        }
    }
}
