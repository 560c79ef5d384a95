//! T5 and its heirs: encoder-decoders without positions of their own, whose attention scores carry learned biases for
//! the distance of query and key.

mod config;

pub use config::T5Config;

use tch::Tensor;
use tch_transformers_native::Weight;

use super::seq2seq::{Decoder, Encoded, Encoder, EncoderDecoder, EndTokenClassifier, Start, embedded};
use crate::config::OneOrMore;
use crate::inputs::{Argument, Dim, Values, covers};
use crate::model::{Architecture, Generation, Head, Module};
use crate::nn::heads::{Bare, Body, Features, Headed, PerToken, Readout, Span, last_tokens};
use crate::nn::{
    AttentionSpec, Context, Embedding, LayerSpec, Linear, Mask, MlpSpec, NormSpec, RelativeBias, RelativeBiasSpec,
    Stack, StackSpec, masked_bias,
};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Cache, Error, Inputs, LayerFormula, Outputs, Result};

/// T5 (Raffel et al., 2019); `transformers.models.t5`.
#[derive(Debug)]
pub struct T5;

impl Architecture for T5 {
    type Config = T5Config;
}

/// Which of the two stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Encoder,
    Decoder,
}

/// What each layer is, and how many.
fn stack(config: &T5Config, side: Side) -> StackSpec {
    // The initialisation makes up for the missing scale.
    let attention = AttentionSpec {
        scale: 1.0,
        ..AttentionSpec::grouped(config.d_model, config.num_heads, config.num_heads, config.d_kv)
    };
    let mlp = MlpSpec {
        gated: config.is_gated_act,
        bias: false,
        ..MlpSpec::plain(config.d_model, config.d_ff, config.dense_act_fn)
    };
    let norm = NormSpec::rms(config.layer_norm_epsilon);
    let layer =
        LayerSpec { cross: (side == Side::Decoder).then_some(attention), ..LayerSpec::new(attention, mlp, norm) };
    let layers = if side == Side::Encoder { config.num_layers } else { config.num_decoder_layers };
    StackSpec { layers: vec![layer; layers as usize], final_norm: Some(norm) }
}

fn names(config: &T5Config, side: Side) -> NameTable {
    let names = NameTable::new().names(&[
        ("layers", "block"),
        ("layers.*.attention", "block.*.layer.0.SelfAttention"),
        ("layers.*.attention_norm", "block.*.layer.0.layer_norm"),
        ("bias", "block.0.layer.0.SelfAttention.relative_attention_bias"),
        ("norm", "final_layer_norm"),
    ]);
    let names = match side {
        Side::Encoder => names.names(&[
            ("layers.*.mlp", "block.*.layer.1.DenseReluDense"),
            ("layers.*.mlp.up", "block.*.layer.1.DenseReluDense.wi"),
            ("layers.*.mlp_norm", "block.*.layer.1.layer_norm"),
        ]),
        Side::Decoder => names.names(&[
            ("layers.*.cross", "block.*.layer.1.EncDecAttention"),
            ("layers.*.cross_norm", "block.*.layer.1.layer_norm"),
            ("layers.*.mlp.up", "block.*.layer.2.DenseReluDense.wi"),
            ("layers.*.mlp_norm", "block.*.layer.2.layer_norm"),
        ]),
    };
    // Large checkpoints leave the range of float16 here.
    let names = match side {
        Side::Encoder => names.wide("layers.*.mlp.down", "block.*.layer.1.DenseReluDense.wo"),
        Side::Decoder => names.wide("layers.*.mlp.down", "block.*.layer.2.DenseReluDense.wo"),
    };
    match (config.is_gated_act, side) {
        (false, _) => names,
        (true, Side::Encoder) => names.names(&[
            ("layers.*.mlp.gate", "block.*.layer.1.DenseReluDense.wi_0"),
            ("layers.*.mlp.up", "block.*.layer.1.DenseReluDense.wi_1"),
        ]),
        (true, Side::Decoder) => names.names(&[
            ("layers.*.mlp.gate", "block.*.layer.2.DenseReluDense.wi_0"),
            ("layers.*.mlp.up", "block.*.layer.2.DenseReluDense.wi_1"),
        ]),
    }
}

/// One side with its embeddings.
#[derive(Debug)]
pub struct T5Stack {
    vocab_size: i64,
    width: i64,
    embedding: Embedding,
    bias: RelativeBias,
    stack: Stack,
}

impl T5Stack {
    /// Loads one side from the root of the base model's weights, whose sides share the table `shared`.
    fn load(config: &T5Config, weights: &Weights, side: Side, shared: &Weight) -> Self {
        let weights = weights.at(if side == Side::Encoder { "encoder" } else { "decoder" });
        let table = weights.weight_tied("embed_tokens.weight", shared);
        let weights = weights.named(names(config, side));
        // Early checkpoints carry it; nothing ever read it.
        weights.ignore("layers.0.cross.relative_attention_bias.weight");
        let bias = RelativeBiasSpec {
            heads: config.num_heads,
            buckets: config.relative_attention_num_buckets,
            max_distance: config.relative_attention_max_distance,
            bidirectional: side == Side::Encoder,
        };
        Self {
            vocab_size: config.vocab_size,
            width: config.d_model,
            embedding: Embedding::tied(table),
            bias: RelativeBias::load(&weights.at("bias"), bias),
            stack: Stack::load(&weights, &stack(config, side)),
        }
    }

    /// The context of `x` (`[batch, tokens, width]`), which comes after `past` tokens: all layers share the biases.
    fn context(&self, x: &Tensor, mask: &Mask, past: i64, inputs: &Inputs) -> Context {
        let queries = x.size()[1];
        let bias = self.bias.forward(queries, past + queries, past);
        Context::new(Mask::None, inputs).with_bias(masked_bias(&bias, mask, queries, past + queries))
    }
}

impl Body for T5Stack {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Exactly, Named};
        let shape = [Named("batch"), Named("tokens"), Exactly(self.width)];
        vec![
            Argument::optional("input_ids", Values::Ids(self.vocab_size), &shape[..2]),
            Argument::optional("attention_mask", Values::Mask, &[Named("batch"), Named("encoded tokens")]),
            Argument::optional("inputs_embeds", Values::Float, &shape),
        ]
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let x = embedded(inputs, "input_ids", "inputs_embeds", &self.embedding)?;
        let attention_mask = inputs.get("attention_mask");
        covers("attention_mask", attention_mask, 0, x.size()[1])?;
        let context = self.context(&x, &Mask::padding(attention_mask), 0, inputs);
        Ok(Features::passed(self.stack.forward(x, &context, None).tied()))
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        Some(self.embedding.forward(ids))
    }
}

impl Encoder for T5Stack {}

impl Decoder for T5Stack {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Exactly, Named};
        let shape = [Named("batch"), Named("decoder tokens"), Exactly(self.width)];
        let mask = [Named("batch"), Named("all decoder tokens")];
        vec![
            Argument::optional("decoder_input_ids", Values::Ids(self.vocab_size), &shape[..2]),
            Argument::optional("decoder_attention_mask", Values::Mask, &mask),
            Argument::optional("decoder_inputs_embeds", Values::Float, &shape),
        ]
    }

    fn decode(&self, inputs: &Inputs, encoded: Option<&Encoded>, cache: Option<&mut Cache>) -> Result<Features> {
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let x = embedded(inputs, "decoder_input_ids", "decoder_inputs_embeds", &self.embedding)?;
        let attention_mask = inputs.get("decoder_attention_mask");
        covers("decoder_attention_mask", attention_mask, past, x.size()[1])?;
        Cache::check_room(cache.as_deref(), x.size()[1])?;
        let mask = Mask::causal(attention_mask, x.size()[1], past, None, &x);
        let context = Encoded::seen_by(self.context(&x, &mask, past, inputs), encoded);
        Ok(Features::passed(self.stack.forward(x, &context, cache).tied()))
    }

    fn cached(&self) -> Vec<LayerFormula> {
        self.stack.cached()
    }
}

/// The encoder alone: the body of the classes that only encode.
fn encoder(config: &T5Config, weights: &Weights) -> T5Stack {
    weights.ignore_below("decoder");
    T5Stack::load(config, weights, Side::Encoder, &shared(config, weights))
}

type T5Body = EncoderDecoder<T5Stack, T5Stack>;

fn body(config: &T5Config, weights: &Weights) -> T5Body {
    let shared = shared(config, weights);
    let load = |side| T5Stack::load(config, weights, side, &shared);
    EncoderDecoder::new(load(Side::Encoder), load(Side::Decoder), config.d_model)
}

/// The table of both sides and, unless the checkpoint has another, of the language model's head.
fn shared(config: &T5Config, weights: &Weights) -> Weight {
    let names = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];
    weights.weight_of(&names, &[config.vocab_size, config.d_model])
}

/// The decoder's inputs where the caller gives none.
fn start(config: &T5Config) -> Result<Start> {
    match config.decoder_start_token_id {
        Some(token) => Ok(Start::Shifted(token)),
        None => Err(Error::config("t5", "decoder_start_token_id", "is missing; this class starts its decoder with it")),
    }
}

impl Head<tasks::FeatureExtraction> for T5 {
    fn load(config: &T5Config, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(body(config, &weights.either(&["", "transformer"])), Bare)))
    }
}

impl Head<tasks::TextEncoding> for T5 {
    fn load(config: &T5Config, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(encoder(config, &weights.either(&["", "transformer"])), Bare)))
    }
}

/// `logits` of the next token.
#[derive(Debug)]
struct LanguageModel {
    head: Linear,
    scale: Option<f64>,
}

impl Readout for LanguageModel {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let x = last_tokens(&features.hidden, inputs);
        let x = self.scale.map_or_else(|| x.shallow_clone(), |scale| &x * scale);
        Ok(Outputs::new().with("logits", self.head.forward(&x)))
    }
}

impl Head<tasks::Text2textGeneration> for T5 {
    fn load(config: &T5Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let matrix = weights.matrix_tied("lm_head.weight", &shared(config, weights));
        let scale = config.scale_decoder_outputs.then(|| (config.d_model as f64).powf(-0.5));
        let head = LanguageModel { head: Linear::of(matrix, None), scale };
        let body = body(config, weights);
        Ok(match config.decoder_start_token_id {
            Some(start) => {
                Box::new(Headed::generating(body, head, Generation::EncoderDecoder { start, encodes: "input_ids" }))
            }
            None => Box::new(Headed::new(body, head)),
        })
    }
}

impl Head<tasks::TextClassification> for T5 {
    fn load(config: &T5Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let Some(OneOrMore::One(end)) = config.eos_token_id else {
            return Err(Error::config("t5", "eos_token_id", "must be one token; this class reads the decoder there"));
        };
        let place = weights.at("classification_head");
        let head = EndTokenClassifier::load(&place, config.d_model, config.num_labels, Some(end));
        let body = body(config, &weights.either(&["transformer", ""])).starting(start(config)?);
        Ok(Box::new(Headed::new(body, head)))
    }
}

impl Head<tasks::TokenClassification> for T5 {
    fn load(config: &T5Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let head = Linear::load(&weights.at("classifier"), config.d_model, config.num_labels, true);
        Ok(Box::new(Headed::new(encoder(config, &weights.either(&["transformer", ""])), PerToken(head))))
    }
}

impl Head<tasks::QuestionAnswering> for T5 {
    fn load(config: &T5Config, weights: &Weights) -> Result<Box<dyn Module>> {
        if config.num_labels != 2 {
            let message = format!("must be 2 for question answering, got {}", config.num_labels);
            return Err(Error::config("t5", "num_labels", message));
        }
        let head = Linear::load(&weights.at("qa_outputs"), config.d_model, config.num_labels, true);
        let body = body(config, &weights.either(&["", "transformer"])).starting(start(config)?);
        Ok(Box::new(Headed::new(body, Span(head))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::{Device, Kind};

    use super::*;
    use crate::weights::{LoadOptions, TensorSource, draw};

    fn config() -> T5Config {
        T5Config { vocab_size: 11, d_model: 12, d_kv: 5, d_ff: 17, num_layers: 2, num_heads: 3, ..T5Config::default() }
    }

    fn encode(tensors: &BTreeMap<String, Tensor>, kind: Kind) -> Tensor {
        let copies = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        let options = LoadOptions { kind: Some(kind), ..LoadOptions::default() };
        let weights = Weights::new(TensorSource::Memory(copies), options);
        let model = <T5 as Head<tasks::TextEncoding>>::load(&config(), &weights).unwrap();
        assert!(weights.finish().0.is_clean());
        let ids = Tensor::arange(11, (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let mut outputs = model.forward(&Inputs::new().with("input_ids", ids), None).unwrap();
        outputs.take("last_hidden_state").unwrap()
    }

    #[test]
    fn sums_beyond_the_range_of_float16_stay_finite() {
        let nothing = Weights::nothing();
        <T5 as Head<tasks::TextEncoding>>::load(&config(), &nothing).unwrap();
        let seeded = |(name, shape): (String, Vec<i64>)| {
            let scale = if name.ends_with("wo.weight") { 30_000.0 } else { 1.0 };
            let tensor = draw(1, &name, &shape, -scale, scale);
            (name, tensor)
        };
        let tensors = nothing.expected().into_iter().map(seeded).collect();
        let (single, half) = (encode(&tensors, Kind::Float), encode(&tensors, Kind::Half));
        assert_eq!(half.kind(), Kind::Half);
        let error = (half.to_kind(Kind::Float) - &single).abs().max().double_value(&[]);
        assert!(error < 0.02 * single.abs().max().double_value(&[]), "{error}");
    }
}
