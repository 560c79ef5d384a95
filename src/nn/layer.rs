use tch::Tensor;

use super::{Attend, Attention, AttentionSpec, Context, Mlp, MlpSpec, Norm, NormSpec};
use crate::cache::LayerCache;
use crate::weights::Weights;

/// Where a layer normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// What goes into each sublayer: `x + f(norm(x))`.
    Pre,
    /// The sum: `norm(x + f(x))`.
    Post,
}

/// One layer of a transformer: self-attention, cross attention where there is a second sequence, feed-forward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerSpec {
    /// Self-attention.
    pub attention: AttentionSpec,
    /// Attention to another sequence.
    pub cross: Option<AttentionSpec>,
    /// Feed-forward.
    pub mlp: MlpSpec,
    /// The normalisation.
    pub norm: NormSpec,
    /// Where it stands.
    pub placement: Placement,
    /// A small feed-forward of its own normalised input after all else, as adapters to a language are.
    pub adapter: Option<(NormSpec, MlpSpec)>,
}

/// A transformer layer with its parameters.
#[derive(Debug)]
pub struct Layer {
    placement: Placement,
    attention: Attention,
    attention_norm: Norm,
    cross: Option<(Attention, Norm)>,
    mlp: Mlp,
    mlp_norm: Norm,
    adapter: Option<(Norm, Mlp)>,
}

/// What a layer returns: hidden states, and the attention weights where they are wanted.
#[derive(Debug)]
pub struct LayerOutput {
    /// `[batch, tokens, hidden]`.
    pub hidden: Tensor,
    /// Of self-attention.
    pub attention: Option<Tensor>,
    /// Of cross attention.
    pub cross_attention: Option<Tensor>,
}

impl Layer {
    /// Loads `attention`, `cross`, `mlp`, `adapter`, and `attention_norm`, `cross_norm`, `mlp_norm`, `adapter_norm`.
    pub fn load(weights: &Weights, spec: &LayerSpec) -> Self {
        let norm = |name: &str| Norm::load(&weights.at(name), spec.norm, spec.mlp.hidden);
        let adapter = |(norm, mlp): (NormSpec, MlpSpec)| {
            (Norm::load(&weights.at("adapter_norm"), norm, mlp.hidden), Mlp::load(&weights.at("adapter"), mlp))
        };
        Self {
            placement: spec.placement,
            attention: Attention::load(&weights.at("attention"), spec.attention),
            attention_norm: norm("attention_norm"),
            cross: spec.cross.map(|cross| (Attention::load_cross(&weights.at("cross"), cross), norm("cross_norm"))),
            mlp: Mlp::load(&weights.at("mlp"), spec.mlp),
            mlp_norm: norm("mlp_norm"),
            adapter: spec.adapter.map(adapter),
        }
    }

    /// `[batch, tokens, hidden]` to the same shape.
    pub fn forward(&self, x: &Tensor, context: &Context, cache: Option<&mut LayerCache>) -> LayerOutput {
        let (past, slot) = match cache {
            Some(cache) => (Some(&mut cache.past), Some(&mut cache.memory)),
            None => (None, None),
        };
        let attend = Attend {
            mask: &context.mask,
            bias: context.bias.as_ref(),
            rotation: context.rotation.as_ref(),
            weights: context.attentions,
        };
        let mut attention = None;
        let mut x = self.sublayer(x, &self.attention_norm, |x| {
            let (output, weights) = self.attention.forward(x, attend, past);
            attention = weights;
            output
        });
        let mut cross_attention = None;
        if let (Some((cross, norm)), Some(memory)) = (&self.cross, &context.memory) {
            let attend = Attend { mask: &context.memory_mask, bias: None, rotation: None, ..attend };
            x = self.sublayer(&x, norm, |x| {
                let (output, weights) = cross.forward_cross(x, memory, attend, slot);
                cross_attention = weights;
                output
            });
        }
        let mut hidden = self.sublayer(&x, &self.mlp_norm, |x| self.mlp.forward(x));
        if let Some((norm, adapter)) = &self.adapter {
            hidden = &hidden + adapter.forward(&norm.forward(&hidden));
        }
        LayerOutput { hidden, attention, cross_attention }
    }

    fn sublayer(&self, x: &Tensor, norm: &Norm, f: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        match self.placement {
            Placement::Pre => x + f(&norm.forward(x)),
            Placement::Post => norm.forward(&(x + f(x))),
        }
    }
}
