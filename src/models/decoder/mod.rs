//! The decoder blueprint: a causal stack between token embeddings and one of five heads, driven by a spec.

mod classes;
mod config;
mod dense;
mod kinds;

pub use classes::{Class, LastToken, Vocabulary};
pub(crate) use classes::{decoder, decoder_classes};
pub use config::DecoderConfig;
pub use dense::{dense, dense_with, names};
pub use kinds::{FULL, SLIDING, check_layer_types, check_window, fill_layer_types, take_pattern};

use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::inputs::{Argument, Dim, Values, covers};
use crate::nn::heads::{Body, Features};
use crate::nn::rope::{Rope, RopeSpec};
use crate::nn::{
    AlibiSpec, Arrangement, AttentionSpec, Context, Embedding, FeedForwardSpec, LayerSpec, Linear, Mask, MixerSpec,
    MlpSpec, MoeSpec, Norm, NormSpec, Placement, Stack, StackSpec, real_among,
};
use crate::weights::{NameTable, Weights};
use crate::{Cache, CacheFormula, Error, Inputs, Result};

/// What a decoder is made of; a pure function of its configuration.
///
/// An architecture states what differs from [`DecoderSpec::new`], or from the spec of the one that it derives from.
#[derive(Debug, Clone)]
pub struct DecoderSpec {
    /// Tokens in the vocabulary.
    pub vocab_size: i64,
    /// Width of the hidden states.
    pub hidden: i64,
    /// Width of the vectors of tokens and of what the heads read, which are projected to and from that of the layers
    /// where the two differ.
    pub token_width: i64,
    /// Most tokens of a sequence, where something else than a table of positions limits them.
    pub most_tokens: Option<i64>,
    /// What the vectors of tokens are multiplied by.
    pub embedding_scale: Option<f64>,
    /// Whether that is rounded to the kind of the vectors first.
    pub embedding_scale_rounded: bool,
    /// What these are multiplied by, vectors that are given in their place too.
    pub input_scale: Option<f64>,
    /// The normalisation of what enters the first layer.
    pub embedding_norm: Option<NormSpec>,
    /// Whether a token sees only itself and those before it; all of them where not.
    pub causal: bool,
    /// Learned positions, added to the vectors of tokens.
    pub positions: Option<LearnedPositions>,
    /// Biases of attention scores that stand in for positions.
    pub alibi: Option<AlibiSpec>,
    /// Whether segments are looked up in the table of tokens, and added.
    pub token_types: bool,
    /// The layers, first to last.
    pub layers: Vec<DecoderLayer>,
    /// The normalisation after the last layer.
    pub final_norm: Option<NormSpec>,
    /// Whether hidden states are recorded behind each layer and once more behind the last normalisation, instead of
    /// before each layer and behind the last normalisation.
    pub states_behind_layers: bool,
    /// The head over the vocabulary.
    pub lm_head: LmHead,
    /// What logits over the vocabulary are multiplied by.
    pub logit_scale: Option<f64>,
    /// Bound that they approach then: `cap * tanh(logits / cap)`.
    pub logit_softcap: Option<f64>,
    /// Whether what the routers of experts said is an output where the caller does not say (`output_router_logits`);
    /// never where `None`.
    pub router_logits: Option<bool>,
    /// With how many experts per token the class for generation measures their balance where it returns that; not at all
    /// where `None`.
    pub balance: Option<i64>,
    /// Number of labels of the classification heads.
    pub labels: i64,
    /// The token that fills rows up, which sequence classification looks in front of.
    pub pad_token: Option<i64>,
    /// Whether the vector of the padding token is never trained.
    pub frozen_padding: bool,
    /// Length of an input beyond which keys of a shorter one no longer stand, so that generation computes them anew.
    pub renewed_beyond: Option<i64>,
    /// Where the parameters stand.
    pub names: Names,
}

impl DecoderSpec {
    /// Causal layers as wide as the first one says, on the vectors of `vocab_size` tokens, and a last `norm`; an untied
    /// head without bias.
    pub fn new(vocab_size: i64, layers: Vec<DecoderLayer>, norm: NormSpec, names: Names) -> Self {
        let hidden = layers.first().map_or(0, |layer| layer.layer.hidden);
        Self {
            vocab_size,
            hidden,
            token_width: hidden,
            most_tokens: None,
            embedding_scale: None,
            embedding_scale_rounded: false,
            input_scale: None,
            embedding_norm: None,
            causal: true,
            positions: None,
            alibi: None,
            token_types: false,
            layers,
            final_norm: Some(norm),
            states_behind_layers: false,
            lm_head: LmHead { tied: false, bias: false },
            logit_scale: None,
            logit_softcap: None,
            router_logits: None,
            balance: None,
            labels: 2,
            pad_token: None,
            frozen_padding: false,
            renewed_beyond: None,
            names,
        }
    }

    /// The same with a head over the vocabulary that uses the table of token embeddings where `tied`, and others of
    /// `labels` labels; `pad_token` fills rows up.
    pub fn with_heads(self, tied: bool, labels: i64, pad_token: Option<i64>) -> Self {
        Self { lm_head: LmHead { tied, ..self.lm_head }, labels, pad_token, ..self }
    }

    /// The same with every layer changed by `change`, which is given the number of each.
    pub fn with_layers(mut self, mut change: impl FnMut(usize, &mut DecoderLayer)) -> Self {
        self.layers.iter_mut().enumerate().for_each(|(index, layer)| change(index, layer));
        self
    }

    /// The same with every layer normalising at `placement`.
    pub fn with_placement(self, placement: Placement) -> Self {
        self.with_layers(|_, layer| layer.layer.placement = placement)
    }

    /// The same with the sublayers of every layer following each other as `arrangement` says.
    pub fn with_arrangement(self, arrangement: Arrangement) -> Self {
        self.with_layers(|_, layer| layer.layer.arrangement = arrangement)
    }

    /// The same with other names for some blocks: `(block, stored)` each.
    pub fn with_names(mut self, pairs: &[(&'static str, &'static str)]) -> Self {
        self.names.table = self.names.table.names(pairs);
        self
    }

    /// The same with the attention of every layer changed by `change`.
    pub fn with_attention(self, mut change: impl FnMut(&mut AttentionSpec)) -> Self {
        self.with_layers(|_, layer| layer.layer.attention().into_iter().for_each(&mut change))
    }

    /// The same with `moe` as the feed-forward of those layers that are `sparse`, by their number.
    pub fn with_experts(self, moe: MoeSpec, sparse: impl Fn(usize) -> bool) -> Self {
        self.with_layers(|index, layer| {
            if sparse(index) {
                layer.layer.feed_forward = FeedForwardSpec::Moe(Box::new(moe));
            }
        })
    }

    /// The same with the feed-forward of every layer changed by `change`, where it is one network for all tokens.
    pub fn with_mlps(self, mut change: impl FnMut(&mut MlpSpec)) -> Self {
        self.with_layers(|_, layer| {
            if let FeedForwardSpec::Mlp(mlp) = &mut layer.layer.feed_forward {
                change(mlp);
            }
        })
    }
}

/// A table of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnedPositions {
    /// Positions that tokens can take.
    pub count: i64,
    /// Rows of the table before the first position.
    pub offset: i64,
    /// Whether only real tokens are counted, as the attention mask tells; padding takes the row before the first.
    pub masked: bool,
}

impl LearnedPositions {
    /// One row for each of `count` positions, padding included.
    pub fn new(count: i64) -> Self {
        Self { count, offset: 0, masked: false }
    }
}

/// One layer of a decoder, and what it sees.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderLayer {
    /// The layer.
    pub layer: LayerSpec,
    /// How many tokens back it attends, itself included; all where `None`.
    pub window: Option<i64>,
    /// How it rotates queries and keys.
    pub rope: Option<RopeSpec>,
}

impl DecoderLayer {
    /// A layer that sees all tokens and rotates nothing.
    pub fn new(layer: LayerSpec) -> Self {
        Self { layer, window: None, rope: None }
    }
}

/// The head over the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LmHead {
    /// Whether it uses the table of token embeddings.
    pub tied: bool,
    /// Whether it has a bias.
    pub bias: bool,
}

/// Where the parameters of a decoder stand in a checkpoint.
#[derive(Debug, Clone)]
pub struct Names {
    /// From `token`, `position`, `layers.N.…`, `norm` to the names in the checkpoint.
    pub table: NameTable,
    /// What the classes with a head put before the names of the body.
    pub prefix: &'static str,
    /// What the class for question answering puts there.
    pub span_prefix: &'static str,
    /// The head over the vocabulary, and what older checkpoints call it.
    pub lm_head: &'static [&'static str],
    /// The head of token classification.
    pub token_head: &'static str,
    /// What older checkpoints carry in every layer although nothing needs it, as paths of blocks.
    pub ignored: &'static [&'static str],
    /// What checkpoints carry beside the body although nothing needs it, as stored paths.
    pub beside: &'static [&'static str],
    /// Layers that checkpoints carry after the last, such as those that predict further tokens.
    pub spare_layers: i64,
}

impl Names {
    /// Those of Llama but for `table`: bodies below `model`, and below `transformer` for question answering.
    pub fn new(table: NameTable) -> Self {
        Self {
            table,
            prefix: "model",
            span_prefix: "transformer",
            lm_head: &["lm_head"],
            token_head: "score",
            ignored: &["attention.rotary_emb.inv_freq"],
            beside: &[],
            spare_layers: 0,
        }
    }

    /// Those of GPT-2 but for `table`: bodies below `prefix` whatever the class, and causal masks among the constants.
    pub fn below(prefix: &'static str, table: NameTable) -> Self {
        Self {
            prefix,
            span_prefix: prefix,
            token_head: "classifier",
            ignored: &["attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq"],
            ..Self::new(table)
        }
    }
}

/// The decoder without its heads.
#[derive(Debug)]
pub struct DecoderBody {
    spec: DecoderSpec,
    token: Embedding,
    position: Option<(LearnedPositions, Embedding)>,
    /// Into the layers and out of them.
    projections: Option<(Linear, Linear)>,
    embedding_norm: Option<Norm>,
    stack: Stack,
    views: Vec<View>,
    /// The view of each layer.
    kinds: Vec<usize>,
}

/// What layers of one kind see.
#[derive(Debug)]
enum View {
    /// Attention: how far back, and rotated how.
    Attention { window: Option<i64>, rope: Option<Rope> },
    /// What mixes tokens otherwise: the tokens one after the other.
    Sequence,
}

impl DecoderBody {
    /// Loads the body from the root of a class's weights, below the first of `places` that the checkpoint has.
    pub fn load(spec: DecoderSpec, weights: &Weights, places: &[&str]) -> Self {
        spec.names.beside.iter().for_each(|place| weights.ignore_below(place));
        let weights = weights.either(places).named(spec.names.table.clone());
        for layer in 0..spec.layers.len() {
            spec.names.ignored.iter().for_each(|name| weights.at("layers").layer(layer).ignore(name));
        }
        for (index, DecoderLayer { layer, rope, .. }) in spec.layers.iter().enumerate() {
            if let MixerSpec::Attention(AttentionSpec { qk_norm: Some(norm), .. }) = &layer.mixer
                && norm.is_product(rope.is_some())
            {
                weights.at("layers").layer(index).multiplied(&["attention.q_norm.weight", "attention.k_norm.weight"]);
            }
        }
        for layer in (spec.layers.len()..).take(spec.names.spare_layers as usize) {
            weights.at("layers").layer(layer).ignore_below("");
        }
        let token = Embedding::load(&weights.at("token"), spec.vocab_size, spec.token_width);
        let position = spec.positions.map(|positions| {
            let rows = positions.count + positions.offset;
            (positions, Embedding::load(&weights.at("position"), rows, spec.hidden))
        });
        let projections = (spec.token_width != spec.hidden).then(|| {
            let load = |name: &str, inputs, outputs| Linear::load(&weights.at(name), inputs, outputs, false);
            (load("project_in", spec.token_width, spec.hidden), load("project_out", spec.hidden, spec.token_width))
        });
        let norm = |norm| Norm::load(&weights.at("embedding_norm"), norm, spec.hidden);
        let embedding_norm = spec.embedding_norm.map(norm);
        let layers = spec.layers.iter().map(|layer| layer.layer.clone()).collect();
        let stack = Stack::load(&weights, &StackSpec { layers, final_norm: spec.final_norm });
        let mut seen: Vec<Option<(Option<i64>, &Option<RopeSpec>)>> = Vec::new();
        let mut kinds = Vec::with_capacity(spec.layers.len());
        for layer in &spec.layers {
            let view = layer.layer.mixer.attends().then_some((layer.window, &layer.rope));
            kinds.push(seen.iter().position(|known| *known == view).unwrap_or_else(|| {
                seen.push(view);
                seen.len() - 1
            }));
        }
        let view = |view: Option<(Option<i64>, &Option<RopeSpec>)>| match view {
            Some((window, rope)) => {
                View::Attention { window, rope: rope.clone().map(|rope| Rope::new(rope, weights.device())) }
            }
            None => View::Sequence,
        };
        let views = seen.into_iter().map(view).collect();
        let padding = spec.pad_token.filter(|_| spec.frozen_padding);
        Self {
            token: token.with_padding(&weights, padding),
            position,
            projections,
            embedding_norm,
            stack,
            views,
            kinds,
            spec,
        }
    }

    /// The spec that the body was built from.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// The head over the vocabulary, from the root of a class's weights.
    pub fn vocabulary(&self, weights: &Weights) -> Vocabulary {
        let DecoderSpec { logit_scale: scale, logit_softcap: softcap, balance, .. } = self.spec;
        Vocabulary { head: self.lm_head(weights), scale, softcap, balance }
    }

    fn lm_head(&self, weights: &Weights) -> Linear {
        let head = weights.having("weight", self.spec.names.lm_head);
        let shape = [self.spec.vocab_size, self.spec.token_width];
        let matrix = match self.spec.lm_head.tied {
            true => head.matrix_tied("weight", &self.token.table()),
            false => head.matrix("weight", shape),
        };
        Linear::of(matrix, head.weight_if(self.spec.lm_head.bias, "bias", &shape[..1]))
    }

    /// The table of tokens.
    pub fn words(&self) -> Weight {
        self.token.table()
    }

    fn tokens(&self, ids: &Tensor) -> Tensor {
        let vectors = self.token.forward(ids);
        match self.spec.embedding_scale {
            Some(scale) if self.spec.embedding_scale_rounded => {
                &vectors * Tensor::full([], scale, (vectors.kind(), vectors.device()))
            }
            Some(scale) => vectors * scale,
            None => vectors,
        }
    }

    /// Vectors of tokens in the width of the layers.
    fn widened(&self, vectors: Tensor) -> Tensor {
        match &self.projections {
            Some((project_in, _)) => project_in.forward(&vectors),
            None => vectors,
        }
    }

    /// The input of the first layer, `[batch, tokens, hidden]`.
    fn enter(&self, inputs: &Inputs, past: i64) -> Result<Tensor> {
        let vectors = match (inputs.get("input_ids"), inputs.get("inputs_embeds")) {
            (Some(_), Some(_)) => {
                return Err(Error::input("inputs_embeds", "stands in place of `input_ids`; got both"));
            }
            (None, Some(embeds)) => embeds.shallow_clone(),
            _ => self.tokens(inputs.need("input_ids")?),
        };
        let vectors = match self.spec.input_scale {
            Some(scale) => vectors * scale,
            None => vectors,
        };
        let tokens = vectors.size()[1];
        covers("attention_mask", inputs.get("attention_mask"), past, tokens)?;
        let x = self.widened(vectors);
        let x = match self.positions(inputs, past, tokens)? {
            Some(positions) => x + positions,
            None => x,
        };
        let x = match inputs.get("token_type_ids") {
            Some(ids) if self.spec.token_types => x + self.widened(self.tokens(ids)),
            _ => x,
        };
        Ok(match &self.embedding_norm {
            Some(norm) => norm.forward(&x),
            None => x,
        })
    }

    /// The vectors of the positions of `tokens` tokens after `past`, where they are learned.
    fn positions(&self, inputs: &Inputs, past: i64, tokens: i64) -> Result<Option<Tensor>> {
        let most = self.position.as_ref().map(|(positions, _)| positions.count).or(self.spec.most_tokens);
        if let Some(most) = most.filter(|most| past + tokens > *most && inputs.get("position_ids").is_none()) {
            let message = format!("{tokens} tokens after {past} in the cache; the model has {most} positions");
            return Err(Error::input("input_ids", message));
        }
        let Some((LearnedPositions { offset, masked, .. }, table)) = &self.position else { return Ok(None) };
        Ok(Some(match (inputs.get("position_ids"), inputs.get("attention_mask")) {
            (Some(ids), _) => table.forward(&(ids + *offset)),
            (None, Some(mask)) if *masked => {
                let real = mask.to_kind(Kind::Int64);
                let ids = real.cumsum(-1, Kind::Int64) * real + (*offset - 1);
                table.forward(&ids.narrow(1, past, tokens))
            }
            (None, _) => table.rows(past + offset, tokens),
        }))
    }

    /// How many keys the cache holds for each kind of layer.
    fn held(&self, cache: Option<&mut Cache>) -> Vec<i64> {
        let Some(cache) = cache else { return vec![0; self.views.len()] };
        for (index, window) in self.spec.layers.iter().map(|layer| layer.window).enumerate() {
            window.into_iter().for_each(|window| cache.slide(index, window));
        }
        let first = |view| self.kinds.iter().position(|kind| *kind == view);
        (0..self.views.len()).map(|view| first(view).map_or(0, |layer| cache.layer(layer).past.len())).collect()
    }

    /// What each kind of layer sees of the tokens `x` after `past`, of whose keys it has `held`.
    fn contexts(&self, inputs: &Inputs, x: &Tensor, past: i64, held: &[i64]) -> Result<Context> {
        let (tokens, device) = (x.size()[1], x.device());
        let attention_mask = inputs.get("attention_mask");
        let positions = match inputs.get("position_ids") {
            Some(ids) => ids.shallow_clone(),
            None => Tensor::arange_start(past, past + tokens, (Kind::Int64, device)).unsqueeze(0),
        };
        let asked = inputs.flag("output_router_logits").and_then(serde_json::Value::as_bool);
        let router_logits = self.spec.router_logits.is_some_and(|default| asked.unwrap_or(default));
        let alibi = self.spec.alibi.map(|alibi| alibi.bias(attention_mask, past + tokens, x));
        let context = |(view, held): (&View, &i64)| {
            let keys = held + tokens;
            let attention_mask = attention_mask.map(|mask| mask.narrow(1, past - held, keys));
            let attention_mask = attention_mask.as_ref();
            let mut context = match view {
                View::Sequence => Context::new(Mask::None, inputs).with_real(real_among(attention_mask, tokens)),
                View::Attention { window, rope } => {
                    let memory = inputs.get("encoder_hidden_states").map(Tensor::shallow_clone);
                    let mask = match self.spec.causal {
                        true => Mask::causal(attention_mask, tokens, *held, *window, x),
                        false => Mask::near(attention_mask, tokens, *held, *window, x),
                    };
                    // For models that put images between the tokens: those of one see each other.
                    let mask = match inputs.get("block_sequence_ids") {
                        Some(blocks) => mask.with_blocks(blocks, attention_mask, *held),
                        None => mask,
                    };
                    let memory_mask = Mask::padding(inputs.get("encoder_attention_mask"));
                    let context = Context::new(mask, inputs).with_memory(memory, memory_mask);
                    match rope {
                        Some(rope) => context.with_rotation(rope.at(&positions, x.kind())),
                        None => context,
                    }
                }
            };
            context.router_logits = router_logits;
            match &alibi {
                Some(bias) => context.with_masked_bias(&bias.narrow(-1, past - held, keys), tokens, keys),
                None => context,
            }
        };
        Context::by_layer(self.views.iter().zip(held).map(context), &self.kinds)
            .ok_or_else(|| Error::input("input_ids", "the model has no layers"))
    }
}

impl Body for DecoderBody {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{AtMost, Broadcast, Exactly, Named};
        let spec = &self.spec;
        let most = spec.positions.map(|positions| positions.count).or(spec.most_tokens);
        let tokens = most.map_or(Named("tokens"), |most| AtMost("tokens", most));
        let mut arguments = vec![
            Argument::optional("input_ids", Values::Ids(spec.vocab_size), &[Named("batch"), tokens]),
            Argument::optional("attention_mask", Values::Mask, &[Named("batch"), Named("all tokens")]),
            Argument::optional("inputs_embeds", Values::Float, &[Named("batch"), tokens, Exactly(spec.token_width)]),
        ];
        if spec.positions.is_some() || spec.layers.iter().any(|layer| layer.rope.is_some()) {
            let positions = most.map_or(Values::Integer, Values::Ids);
            let axes = spec.layers.iter().flat_map(|layer| &layer.rope).map(RopeSpec::positions).max();
            let several = axes.filter(|axes| *axes > 1).map(Exactly);
            let shape: Vec<_> = several.into_iter().chain([Broadcast("batch"), tokens]).collect();
            arguments.push(Argument::optional("position_ids", positions, &shape));
        }
        if spec.token_types {
            let ids = Values::Ids(spec.vocab_size);
            arguments.push(Argument::optional("token_type_ids", ids, &[Named("batch"), tokens]));
        }
        if let Some(cross) = spec.layers.iter().find_map(|layer| layer.layer.cross) {
            let memory = [Named("batch"), Named("memory tokens"), Exactly(cross.source)];
            arguments.push(Argument::optional("encoder_hidden_states", Values::Float, &memory));
            arguments.push(Argument::optional("encoder_attention_mask", Values::Mask, &memory[..2]));
        }
        arguments
    }

    fn run(&self, inputs: &Inputs, mut cache: Option<&mut Cache>) -> Result<Features> {
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let x = self.enter(inputs, past)?;
        Cache::check_room(cache.as_deref(), x.size()[1])?;
        let held = self.held(cache.as_deref_mut());
        let context = self.contexts(inputs, &x, past, &held)?;
        let mut passed = self.stack.forward(x, &context, cache);
        if let Some((_, project_out)) = &self.projections {
            passed.last = project_out.forward(&passed.last);
        }
        let passed = if self.spec.states_behind_layers { passed.behind_layers() } else { passed.tied() };
        Ok(Features { hidden: passed.last.shallow_clone(), pooled: None, rest: passed.recorded("") })
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        Some(self.tokens(ids))
    }

    fn table(&self) -> Option<Weight> {
        Some(self.token.table())
    }

    fn width(&self) -> Option<i64> {
        Some(self.spec.token_width)
    }

    fn renewed_beyond(&self) -> Option<i64> {
        self.spec.renewed_beyond
    }

    fn cache_formula(&self) -> CacheFormula {
        let mut layers = self.stack.cached();
        for (layer, spec) in layers.iter_mut().zip(&self.spec.layers) {
            layer.window = spec.window;
        }
        CacheFormula { layers, encoded: 0 }
    }
}
