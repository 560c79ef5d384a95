use tch::Tensor;

use super::{Attend, Layer, LayerSpec, Mask, Norm, NormSpec, RelativePositions, Rotation, masked_bias};
use crate::weights::Weights;
use crate::{Cache, Inputs, LayerFormula, Outputs};

/// Transformer layers one after the other, each with a spec of its own, and a last normalisation where there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct StackSpec {
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
    /// The normalisation of the last layer's output.
    pub final_norm: Option<NormSpec>,
}

/// What all layers of one pass share.
#[derive(Debug)]
pub struct Context {
    /// Which tokens see which.
    pub mask: Mask,
    /// Added to the scores of self-attention; broadcasts to `[batch, heads, queries, keys]`.
    pub bias: Option<Tensor>,
    /// Rotates queries and keys of self-attention.
    pub rotation: Option<Rotation>,
    /// Added to what queries and keys are made of, but not values; `[batch or 1, tokens, hidden]`.
    pub positions: Option<Tensor>,
    /// The same for the keys of the second sequence.
    pub memory_positions: Option<Tensor>,
    /// Which tokens are no padding, `[batch, tokens, 1]`, for mixers other than attention; `None` where all are.
    pub real: Option<Tensor>,
    /// The relative positions of the tokens: what disentangled attention makes keys and queries of, keys as they are for
    /// any other.
    pub relative: Option<RelativePositions>,
    /// The sequence that cross attention looks at, `[batch, keys, source]`.
    pub memory: Option<Tensor>,
    /// Which of its tokens are seen.
    pub memory_mask: Mask,
    /// Rows and columns of the tokens, where they lie on a grid that layers work on.
    pub grid: Option<[i64; 2]>,
    /// Added to what each layer makes before the next one takes it, as far as there are such; `[1, tokens, hidden]`.
    pub between: Vec<Tensor>,
    /// Whether the hidden states of every layer are wanted.
    pub hidden_states: bool,
    /// Whether the attention weights of every layer are wanted.
    pub attentions: bool,
    /// Whether what the routers of experts said is wanted.
    pub router_logits: bool,
    /// What other layers share, and which layer takes which: 0 for this context, `n` for `others[n - 1]`.
    others: (Vec<Context>, Vec<usize>),
}

impl Context {
    /// Attention under `mask`; records what `inputs` ask for.
    pub fn new(mask: Mask, inputs: &Inputs) -> Self {
        Self {
            mask,
            bias: None,
            rotation: None,
            positions: None,
            memory_positions: None,
            real: None,
            relative: None,
            memory: None,
            memory_mask: Mask::None,
            grid: None,
            between: Vec::new(),
            hidden_states: inputs.is_set("output_hidden_states"),
            attentions: inputs.is_set("output_attentions"),
            router_logits: inputs.is_set("output_router_logits"),
            others: (Vec::new(), Vec::new()),
        }
    }

    /// One context for each kind of layer (windows, other frequencies); layer `i` takes `contexts[kinds[i]]`.
    pub fn by_layer(contexts: impl IntoIterator<Item = Self>, kinds: &[usize]) -> Option<Self> {
        let mut contexts = contexts.into_iter();
        let mut first = contexts.next()?;
        first.others = (contexts.collect(), kinds.to_vec());
        Some(first)
    }

    /// What layer `index` sees.
    pub fn of(&self, index: usize) -> &Self {
        let (others, kinds) = &self.others;
        let kind = kinds.get(index).copied().unwrap_or(0);
        kind.checked_sub(1).and_then(|other| others.get(other)).unwrap_or(self)
    }

    /// How the layers attend to their own tokens.
    pub fn attend(&self) -> Attend<'_> {
        Attend {
            mask: &self.mask,
            bias: self.bias.as_ref(),
            rotation: self.rotation.as_ref(),
            positions: self.positions.as_ref(),
            memory_positions: None,
            relative: self.relative.as_ref(),
            weights: self.attentions,
        }
    }

    /// How they attend to the second sequence.
    pub fn attend_memory(&self) -> Attend<'_> {
        Attend {
            mask: &self.memory_mask,
            bias: None,
            rotation: None,
            positions: self.positions.as_ref(),
            memory_positions: self.memory_positions.as_ref(),
            relative: None,
            weights: self.attentions,
        }
    }

    /// With a second sequence for cross attention.
    pub fn with_memory(mut self, memory: Option<Tensor>, mask: Mask) -> Self {
        self.memory = memory;
        self.memory_mask = mask;
        self
    }

    /// With positions that are added in every layer anew: to the tokens', and to those of the second sequence.
    pub fn with_positions(mut self, own: Option<Tensor>, memory: Option<Tensor>) -> Self {
        self.positions = own;
        self.memory_positions = memory;
        self
    }

    /// With rotary positions.
    pub fn with_rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = Some(rotation);
        self
    }

    /// With `real` tokens, `[batch, tokens, 1]`, among others.
    pub fn with_real(mut self, real: Option<Tensor>) -> Self {
        self.real = real;
        self
    }

    /// With relative positions.
    pub fn with_relative(mut self, relative: RelativePositions) -> Self {
        self.relative = Some(relative);
        self
    }

    /// With tokens on a grid of rows and columns.
    pub fn on_grid(self, grid: [i64; 2]) -> Self {
        Self { grid: Some(grid), ..self }
    }

    /// Tokens `[batch, rows * columns, hidden]` as a map `[batch, hidden, rows, columns]`; without a grid they are one row.
    pub fn map(&self, tokens: &Tensor) -> Tensor {
        let size = tokens.size();
        let [rows, columns] = self.grid.unwrap_or([1, size[1]]);
        tokens.transpose(1, 2).reshape([size[0], size[2], rows, columns])
    }

    /// With `bias` added to the scores.
    pub fn with_bias(mut self, bias: Tensor) -> Self {
        self.bias = Some(bias);
        self
    }

    /// With `bias` added to the scores of `queries` tokens to `keys`. A mask that leaves each token something to see
    /// becomes part of it, once for all layers.
    pub fn with_masked_bias(self, bias: &Tensor, queries: i64, keys: i64) -> Self {
        match &self.mask {
            Mask::Allowed(_) => self.with_bias(bias.shallow_clone()),
            mask => {
                let bias = masked_bias(bias, mask, queries, keys);
                Self { mask: Mask::None, ..self.with_bias(bias) }
            }
        }
    }
}

/// What a stack returns.
#[derive(Debug)]
pub struct Passed {
    /// The last hidden states, normalised where there is a last normalisation; `[batch, tokens, hidden]`.
    pub last: Tensor,
    /// The input and the output of every layer, where wanted; the last one not normalised.
    pub hidden_states: Vec<Tensor>,
    /// Attention weights of every layer, where wanted.
    pub attentions: Vec<Tensor>,
    /// Those of cross attention.
    pub cross_attentions: Vec<Tensor>,
    /// What the routers of those layers that have one said, where wanted; `[batch * tokens, experts]`.
    pub router_logits: Vec<Tensor>,
}

impl Passed {
    /// Puts the normalised output in place of the last layer's among the hidden states, as language models return it.
    pub fn tied(mut self) -> Self {
        if let Some(last) = self.hidden_states.last_mut() {
            *last = self.last.shallow_clone();
        }
        self
    }

    /// Leaves the input of the first layer out of the hidden states and puts the normalised output at their end, as
    /// models of state spaces return them.
    pub fn behind_layers(mut self) -> Self {
        let one = self.hidden_states.len().min(1);
        self.hidden_states.rotate_left(one);
        self.tied()
    }

    /// What the layers of `self` and then those of `rest` return, whose input need not be the output of the first.
    pub fn then(mut self, rest: Self) -> Self {
        self.hidden_states.pop();
        self.hidden_states.extend(rest.hidden_states);
        self.attentions.extend(rest.attentions);
        self.cross_attentions.extend(rest.cross_attentions);
        self.router_logits.extend(rest.router_logits);
        Self { last: rest.last, ..self }
    }

    /// The recorded intermediates: `hidden_states.N`, `attentions.N`, `cross_attentions.N`, `router_logits.N`, each
    /// below `prefix`.
    pub fn recorded(self, prefix: &str) -> Outputs {
        let mut outputs = Outputs::new();
        outputs.insert_list(&format!("{prefix}hidden_states"), self.hidden_states);
        outputs.insert_list(&format!("{prefix}attentions"), self.attentions);
        outputs.insert_list("cross_attentions", self.cross_attentions);
        outputs.insert_list(&format!("{prefix}router_logits"), self.router_logits);
        outputs
    }
}

/// Transformer layers with their parameters.
#[derive(Debug)]
pub struct Stack {
    layers: Vec<Layer>,
    /// The layers that a pass goes through, one after the other.
    order: Vec<usize>,
    final_norm: Option<Norm>,
}

impl Stack {
    /// Loads `layers.N` and, where there is one, `norm`.
    pub fn load(weights: &Weights, spec: &StackSpec) -> Self {
        let list = weights.at("layers");
        let layers = spec.layers.iter().enumerate().map(|(index, layer)| Layer::load(&list.layer(index), layer));
        let width = spec.layers.first().map_or(0, |layer| layer.hidden);
        let final_norm = spec.final_norm.map(|norm| Norm::load(&weights.at("norm"), norm, width));
        Self { order: (0..spec.layers.len()).collect(), layers: layers.collect(), final_norm }
    }

    /// `layers` in the `order` in which a pass goes through them, some several times (Lan et al., 2019).
    pub fn shared(layers: Vec<Layer>, order: Vec<usize>) -> Self {
        Self { layers, order, final_norm: None }
    }

    /// What a cache keeps of the layers that a pass goes through.
    pub fn cached(&self) -> Vec<LayerFormula> {
        self.order.iter().filter_map(|layer| self.layers.get(*layer)).map(|layer| layer.cached).collect()
    }

    /// The first layer of a pass, and the others.
    pub fn split_first(mut self) -> (Self, Self) {
        let others = self.layers.split_off(self.layers.len().min(1));
        let rest = Self { order: (0..others.len()).collect(), layers: others, final_norm: self.final_norm.take() };
        self.order.truncate(1);
        (self, rest)
    }

    /// Passes `x` (`[batch, tokens, hidden]`) through all layers. With a cache, `x` holds the tokens after those in it.
    pub fn forward(&self, x: Tensor, context: &Context, mut cache: Option<&mut Cache>) -> Passed {
        let mut passed = Passed {
            last: x,
            hidden_states: vec![],
            attentions: vec![],
            cross_attentions: vec![],
            router_logits: vec![],
        };
        let tokens = passed.last.size()[1];
        let layers = self.order.iter().filter_map(|layer| self.layers.get(*layer));
        if context.hidden_states {
            passed.hidden_states.push(passed.last.shallow_clone());
        }
        for (index, layer) in layers.enumerate() {
            let output =
                layer.forward(&passed.last, context.of(index), cache.as_deref_mut().map(|cache| cache.layer(index)));
            passed.last = output.hidden;
            if context.hidden_states {
                passed.hidden_states.push(passed.last.shallow_clone());
            }
            if let Some(more) = context.between.get(index) {
                passed.last = &passed.last + more;
            }
            passed.attentions.extend(output.attention);
            passed.cross_attentions.extend(output.cross_attention);
            passed.router_logits.extend(output.routed.filter(|_| context.router_logits));
        }
        if let Some(cache) = cache {
            cache.advance(tokens);
        }
        if let Some(norm) = &self.final_norm {
            passed.last = norm.forward(&passed.last);
        }
        passed
    }
}
