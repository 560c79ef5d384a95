use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::{
    Attention, AttentionSpec, Context, DisentangledAttention, DisentangledSpec, GatedDelta, GatedDeltaSpec,
    LatentAttention, LatentAttentionSpec, Mamba, MambaSpec, MixMlp, Mlp, MlpSpec, Moe, MoeSpec, Norm, NormSpec,
    Reduced, ReducedSpec, ShortConv, ShortConvSpec, Windows, WindowsSpec,
};
use crate::cache::{LayerCache, LayerFormula};
use crate::weights::Weights;

/// Where a layer normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// What goes into each sublayer: `x + f(norm(x))`.
    Pre,
    /// What goes into each sublayer, and the residual too: `norm(x) + f(norm(x))`.
    Residual,
    /// The sum: `norm(x + f(x))`.
    Post,
    /// What comes out of each sublayer: `x + norm(f(x))`.
    Output,
    /// What goes in and what comes out, each with a norm of its own: `x + post_norm(f(norm(x)))`.
    Sandwich,
}

/// How the sublayers of a layer follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// Each works on what the one before it made.
    Sequential,
    /// Mixer and feed-forward both work on the layer's input, normalised once: `x + f(norm(x)) + g(norm(x))`.
    Parallel,
    /// The same with a norm each.
    ParallelNorms,
}

/// What mixes the tokens of a layer.
#[derive(Debug, Clone, PartialEq)]
pub enum MixerSpec {
    /// Attention.
    Attention(AttentionSpec),
    /// Attention within windows of a grid.
    Windows(WindowsSpec),
    /// Attention on a grid to fewer tokens.
    Reduced(ReducedSpec),
    /// Attention whose scores of content and of relative positions are taken apart.
    Disentangled(DisentangledSpec),
    /// Attention whose keys and values come from one narrow vector per token.
    Latent(LatentAttentionSpec),
    /// A selective scan.
    Mamba(MambaSpec),
    /// A gated convolution over a few tokens.
    ShortConv(ShortConvSpec),
    /// Linear attention with the gated delta rule.
    GatedDelta(GatedDeltaSpec),
}

impl MixerSpec {
    /// Whether it is attention of some kind, which sees tokens through a mask; the others see all real ones in order.
    pub fn attends(&self) -> bool {
        !matches!(self, Self::Mamba(_) | Self::ShortConv(_) | Self::GatedDelta(_))
    }
}

/// What works on each token of a layer by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedForwardSpec {
    /// The same network for every token.
    Mlp(MlpSpec),
    /// A mixture of networks, a few of which see a token.
    Moe(Box<MoeSpec>),
    /// The same with a convolution over the grid of tokens in its middle.
    Mix(MlpSpec),
    /// Nothing: the layer is its mixer alone.
    None,
}

/// One layer of a transformer: a mixer (self-attention as a rule), cross attention where there is a second sequence,
/// feed-forward.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// Width of the hidden states.
    pub hidden: i64,
    /// What mixes tokens.
    pub mixer: MixerSpec,
    /// Attention to another sequence.
    pub cross: Option<AttentionSpec>,
    /// What works on each token.
    pub feed_forward: FeedForwardSpec,
    /// The normalisation.
    pub norm: NormSpec,
    /// Where it stands.
    pub placement: Placement,
    /// Whether the mixer's input is normalised where its placement has it so; not in layers whose input already is.
    pub mixer_norm: bool,
    /// How the sublayers follow each other.
    pub arrangement: Arrangement,
    /// What the output of each sublayer is multiplied by before it is added.
    pub residual_scale: Option<f64>,
    /// Whether a learned vector multiplies it, too (LayerScale; Touvron et al., 2021).
    pub layer_scale: bool,
    /// Whether sublayers are added in float32 where the model is in half precision.
    pub wide_residual: bool,
    /// A small feed-forward of its own normalised input after all else, as adapters to a language are.
    pub adapter: Option<(NormSpec, MlpSpec)>,
}

impl LayerSpec {
    /// Self-attention and feed-forward one after the other, each on its normalised input.
    pub fn new(attention: AttentionSpec, mlp: MlpSpec, norm: NormSpec) -> Self {
        Self::of(attention.hidden, MixerSpec::Attention(attention), FeedForwardSpec::Mlp(mlp), norm)
    }

    /// `mixer` and `feed_forward` one after the other, each on its normalised input.
    pub fn of(hidden: i64, mixer: MixerSpec, feed_forward: FeedForwardSpec, norm: NormSpec) -> Self {
        Self {
            hidden,
            mixer,
            cross: None,
            feed_forward,
            norm,
            placement: Placement::Pre,
            mixer_norm: true,
            arrangement: Arrangement::Sequential,
            residual_scale: None,
            layer_scale: false,
            wide_residual: false,
            adapter: None,
        }
    }

    /// What a cache keeps of the layer.
    pub fn cached(&self) -> LayerFormula {
        let kept = match &self.mixer {
            MixerSpec::Attention(spec) => LayerFormula::attention(spec.kv_heads, spec.head_dim),
            MixerSpec::Latent(spec) => {
                LayerFormula { per_token: spec.kv_rank + spec.rope_dim, ..LayerFormula::default() }
            }
            MixerSpec::Mamba(spec) => LayerFormula {
                convolution: (spec.kernel - 1) * spec.inner,
                recurrent: spec.inner * spec.state,
                ..LayerFormula::default()
            },
            MixerSpec::ShortConv(spec) => {
                LayerFormula { convolution: (spec.kernel - 1) * spec.hidden, ..LayerFormula::default() }
            }
            MixerSpec::GatedDelta(spec) => LayerFormula {
                convolution: (spec.kernel - 1) * (2 * spec.keys() + spec.values()),
                recurrent: spec.value_heads * spec.key_dim * spec.value_dim,
                ..LayerFormula::default()
            },
            MixerSpec::Windows(_) | MixerSpec::Reduced(_) | MixerSpec::Disentangled(_) => LayerFormula::default(),
        };
        let source = self.cross.map_or(0, |cross| LayerFormula::attention(cross.kv_heads, cross.head_dim).per_token);
        LayerFormula { per_source: source, ..kept }
    }

    /// The attention that mixes the tokens, to change a switch of; `None` where something else mixes them.
    pub fn attention(&mut self) -> Option<&mut AttentionSpec> {
        match &mut self.mixer {
            MixerSpec::Attention(attention) => Some(attention),
            MixerSpec::Disentangled(spec) => Some(&mut spec.attention),
            MixerSpec::Windows(windows) => Some(&mut windows.attention),
            MixerSpec::Reduced(reduced) => Some(&mut reduced.attention),
            _ => None,
        }
    }
}

/// What mixes tokens, with its parameters.
#[derive(Debug)]
enum Mixer {
    Attention(Attention),
    Latent(LatentAttention),
    Mamba(Mamba),
    ShortConv(ShortConv),
    GatedDelta(GatedDelta),
    Disentangled(DisentangledAttention),
    Windows(Windows),
    Reduced(Reduced),
}

impl Mixer {
    /// Loads the mixer from the place that is named after what it is.
    fn load(weights: &Weights, spec: &MixerSpec) -> Self {
        match spec {
            MixerSpec::Attention(spec) => Self::Attention(Attention::load(&weights.at("attention"), *spec)),
            MixerSpec::Latent(spec) => Self::Latent(LatentAttention::load(&weights.at("attention"), *spec)),
            MixerSpec::Mamba(spec) => Self::Mamba(Mamba::load(&weights.at("mamba"), *spec)),
            MixerSpec::ShortConv(spec) => Self::ShortConv(ShortConv::load(&weights.at("conv"), *spec)),
            MixerSpec::GatedDelta(spec) => Self::GatedDelta(GatedDelta::load(&weights.at("delta"), *spec)),
            MixerSpec::Disentangled(spec) => {
                Self::Disentangled(DisentangledAttention::load(&weights.at("attention"), *spec))
            }
            MixerSpec::Windows(spec) => Self::Windows(Windows::load(&weights.at("attention"), *spec)),
            MixerSpec::Reduced(spec) => Self::Reduced(Reduced::load(&weights.at("attention"), *spec)),
        }
    }

    /// `[batch, tokens, hidden]` to the same shape, and the attention weights where there are such and they are wanted.
    fn forward(&self, x: &Tensor, context: &Context, state: Option<&mut LayerCache>) -> (Tensor, Option<Tensor>) {
        let real = context.real.as_ref();
        let mixed = match self {
            Self::Attention(attention) => {
                return attention.forward(x, context.attend(), state.map(|state| &mut state.past));
            }
            Self::Disentangled(attention) => {
                return attention.forward(x, context.attend(), context.relative.as_ref());
            }
            Self::Latent(attention) => {
                return attention.forward(x, context.attend(), state.map(|state| &mut state.past));
            }
            Self::Windows(windows) => return windows.forward(x, context),
            Self::Reduced(reduced) => return reduced.forward(x, context),
            Self::Mamba(mamba) => mamba.forward(x, real, state),
            Self::ShortConv(conv) => conv.forward(x, real, state),
            Self::GatedDelta(delta) => delta.forward(x, real, state),
        };
        (mixed, None)
    }
}

/// What works on each token, with its parameters.
#[derive(Debug)]
enum FeedForward {
    Mlp(Mlp),
    Moe(Box<Moe>),
    Mix(MixMlp),
}

impl FeedForward {
    fn load(weights: &Weights, spec: &FeedForwardSpec) -> Option<Self> {
        match spec {
            FeedForwardSpec::Mlp(spec) => Some(Self::Mlp(Mlp::load(weights, *spec))),
            FeedForwardSpec::Moe(spec) => Some(Self::Moe(Box::new(Moe::load(weights, spec)))),
            FeedForwardSpec::Mix(spec) => Some(Self::Mix(MixMlp::load(weights, *spec))),
            FeedForwardSpec::None => None,
        }
    }

    /// `[batch, tokens, hidden]` to the same shape; what a router said is left in `routed`.
    fn forward(&self, x: &Tensor, context: &Context, routed: &mut Option<Tensor>) -> Tensor {
        match self {
            Self::Mlp(mlp) => mlp.forward(x),
            Self::Mix(mlp) => mlp.forward(x, context),
            Self::Moe(moe) => {
                let (mixed, logits) = moe.forward(x);
                *routed = Some(logits);
                mixed
            }
        }
    }
}

/// The norms around a sublayer, and what scales its output.
#[derive(Debug)]
struct Frame {
    placement: Placement,
    /// `None` where the sublayer takes an input that was normalised for another.
    norm: Option<Norm>,
    post_norm: Option<Norm>,
    scale: Option<f64>,
    layer_scale: Option<Weight>,
    wide: bool,
}

impl Frame {
    /// Loads `<name>_norm`, and where there are such `<name>_post_norm` and `<name>_scale`.
    fn load(weights: &Weights, spec: &LayerSpec, name: &str, normed: bool) -> Self {
        let norm = |path: &str| Norm::load(&weights.at(format!("{name}_{path}")), spec.norm, spec.hidden);
        Self {
            placement: spec.placement,
            norm: normed.then(|| norm("norm")),
            post_norm: (spec.placement == Placement::Sandwich).then(|| norm("post_norm")),
            scale: spec.residual_scale,
            layer_scale: weights.weight_if(spec.layer_scale, &format!("{name}_scale"), &[spec.hidden]),
            wide: spec.wide_residual,
        }
    }

    fn normed(&self, x: &Tensor) -> Tensor {
        self.norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| norm.forward(x))
    }

    /// What goes into the sublayer.
    fn enter(&self, x: &Tensor) -> Tensor {
        match self.placement {
            Placement::Pre | Placement::Residual | Placement::Sandwich => self.normed(x),
            Placement::Post | Placement::Output => x.shallow_clone(),
        }
    }

    /// What the sublayer's output adds to the residual.
    fn leave(&self, output: Tensor) -> Tensor {
        let output = match self.placement {
            Placement::Output => self.normed(&output),
            _ => self.post_norm.as_ref().map_or_else(|| output.shallow_clone(), |norm| norm.forward(&output)),
        };
        let output = match &self.layer_scale {
            Some(scale) => output * &**scale,
            None => output,
        };
        match self.scale {
            Some(scale) => output * scale,
            None => output,
        }
    }

    /// What the outputs of sublayers are added to.
    fn residual(&self, x: &Tensor) -> Tensor {
        if self.wide { x.to_kind(Kind::Float) } else { x.shallow_clone() }
    }

    /// The sublayer `f` with its residual.
    fn around(&self, x: &Tensor, f: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        let entered = self.enter(x);
        let added = self.leave(f(&entered));
        match self.placement {
            Placement::Post => self.normed(&(self.residual(x) + added)),
            Placement::Residual => self.residual(&entered) + added,
            _ => self.residual(x) + added,
        }
    }
}

/// A transformer layer with its parameters.
#[derive(Debug)]
pub struct Layer {
    arrangement: Arrangement,
    mixer: Mixer,
    mixer_frame: Frame,
    cross: Option<(Attention, Frame)>,
    feed_forward: Option<(FeedForward, Frame)>,
    adapter: Option<(Norm, Mlp)>,
    /// What a cache keeps of it.
    pub(super) cached: LayerFormula,
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
    /// What the router of the feed-forward said, where there is one; `[batch * tokens, experts]`.
    pub routed: Option<Tensor>,
}

impl Layer {
    /// Loads the mixer (`attention`, `mamba`, `conv` or `delta`), `cross`, `mlp` (the feed-forward), `adapter`, and of
    /// each of them `<name>_norm` and where there are such `<name>_post_norm`, `<name>_scale`; those of the mixer are
    /// called `attention_norm` and so on, whatever it is.
    pub fn load(weights: &Weights, spec: &LayerSpec) -> Self {
        let adapter = |(norm, mlp): (NormSpec, MlpSpec)| {
            (Norm::load(&weights.at("adapter_norm"), norm, mlp.hidden), Mlp::load(&weights.at("adapter"), mlp))
        };
        let cross =
            |cross| (Attention::load_cross(&weights.at("cross"), cross), Frame::load(weights, spec, "cross", true));
        let feed_forward =
            |feed_forward| (feed_forward, Frame::load(weights, spec, "mlp", spec.arrangement != Arrangement::Parallel));
        if spec.arrangement != Arrangement::Sequential && spec.placement == Placement::Pre && !spec.layer_scale {
            weights.summed(&["attention.o.bias", "mlp.down.bias"]);
        }
        Self {
            arrangement: spec.arrangement,
            mixer: Mixer::load(weights, &spec.mixer),
            mixer_frame: Frame::load(weights, spec, "attention", spec.mixer_norm),
            cross: spec.cross.map(cross),
            feed_forward: FeedForward::load(&weights.at("mlp"), &spec.feed_forward).map(feed_forward),
            adapter: spec.adapter.map(adapter),
            cached: spec.cached(),
        }
    }

    /// `[batch, tokens, hidden]` to the same shape.
    pub fn forward(&self, x: &Tensor, context: &Context, mut cache: Option<&mut LayerCache>) -> LayerOutput {
        if self.arrangement != Arrangement::Sequential {
            return self.parallel(x, context, cache);
        }
        let mut attention = None;
        let mut x = self.mixer_frame.around(x, |x| {
            let (output, weights) = self.mixer.forward(x, context, cache.as_deref_mut());
            attention = weights;
            output
        });
        let mut cross_attention = None;
        if let (Some((cross, frame)), Some(memory)) = (&self.cross, &context.memory) {
            let slot = cache.map(|cache| &mut cache.memory);
            x = frame.around(&x, |x| {
                let (output, weights) = cross.forward_cross(x, memory, context.attend_memory(), slot);
                cross_attention = weights;
                output
            });
        }
        let mut routed = None;
        if let Some((feed_forward, frame)) = &self.feed_forward {
            x = frame.around(&x, |x| feed_forward.forward(x, context, &mut routed));
        }
        if let Some((norm, adapter)) = &self.adapter {
            x = &x + adapter.forward(&norm.forward(&x));
        }
        LayerOutput { hidden: x, attention, cross_attention, routed }
    }

    /// Mixer and feed-forward side by side.
    fn parallel(&self, x: &Tensor, context: &Context, cache: Option<&mut LayerCache>) -> LayerOutput {
        let entered = self.mixer_frame.enter(x);
        let (mixed, attention) = self.mixer.forward(&entered, context, cache);
        let mut hidden = self.mixer_frame.leave(mixed);
        let mut routed = None;
        if let Some((feed_forward, frame)) = &self.feed_forward {
            let entered = if frame.norm.is_some() { frame.enter(x) } else { entered };
            hidden = frame.leave(feed_forward.forward(&entered, context, &mut routed)) + hidden;
        }
        LayerOutput { hidden: hidden + self.mixer_frame.residual(x), attention, cross_attention: None, routed }
    }
}
