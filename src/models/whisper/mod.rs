//! Whisper: a transformer encoder over log-mel frames and a decoder that writes their text.

mod config;

pub use config::WhisperConfig;

use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::seq2seq::{Decoder, DecoderNames, Encoded, Encoder, EncoderDecoder, bart_layer_names, embedded};
use crate::inputs::{Argument, Dim, Values, covers};
use crate::model::{Architecture, Generation, Head, Module};
use crate::nn::heads::{Bare, Body, Features, Headed, LayerSum, NextToken, ProjectedMean};
use crate::nn::{
    Activation, AttentionSpec, Biases, Context, Conv, ConvSpec, Embedding, LayerSpec, Linear, Mask, MlpSpec, Norm,
    NormKind, NormScale, NormSpec, Passed, Stack, StackSpec,
};
use crate::tasks;
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, Result};

/// Whisper (Radford et al., 2022); `transformers.models.whisper`.
#[derive(Debug)]
pub struct Whisper;

impl Architecture for Whisper {
    type Config = WhisperConfig;
}

/// A layer that normalises its input, whose keys have no bias.
fn layer(hidden: i64, (heads, intermediate): (i64, i64), activation: Activation, cross: bool) -> LayerSpec {
    let attention = AttentionSpec { bias: Biases { k: false, ..Biases::ALL }, ..AttentionSpec::even(hidden, heads) };
    let mlp = MlpSpec::plain(hidden, intermediate, activation);
    LayerSpec { cross: cross.then_some(attention), ..LayerSpec::new(attention, mlp, NORM) }
}

const NORM: NormSpec = NormSpec { kind: NormKind::Layer, eps: 1e-5, scale: NormScale::Weight, bias: true };

/// What an encoder of mel frames is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameEncoderSpec {
    /// Mel bands of a frame.
    pub bands: i64,
    /// Width of the hidden states.
    pub hidden: i64,
    /// Number of layers.
    pub layers: i64,
    /// Attention heads per layer.
    pub heads: i64,
    /// Width of the feed-forward layers.
    pub intermediate: i64,
    /// Activation of the feed-forward layers.
    pub activation: Activation,
    /// Length of the position table, half the frames of the input.
    pub positions: i64,
    /// Whether tokens can be masked; a mask is accepted and has no influence where not.
    pub masked: bool,
    /// Whether every two tokens become their mean before the last norm.
    pub pooled: bool,
}

impl FrameEncoderSpec {
    /// Whisper's encoder.
    fn whisper(config: &WhisperConfig) -> Self {
        Self {
            bands: config.num_mel_bins,
            hidden: config.d_model,
            layers: config.encoder_layers,
            heads: config.encoder_attention_heads,
            intermediate: config.encoder_ffn_dim,
            activation: config.activation_function,
            positions: config.max_source_positions,
            masked: false,
            pooled: false,
        }
    }
}

/// Two convolutions over mel frames, of which the second halves them, positions, and the encoder's layers.
#[derive(Debug)]
pub struct FrameEncoder {
    spec: FrameEncoderSpec,
    convolutions: [Conv<1>; 2],
    positions: Embedding,
    stack: Stack,
    norm: Norm,
    all_layers: bool,
}

impl FrameEncoder {
    /// Loads `conv1`, `conv2`, `embed_positions`, `layers.N` and `layer_norm`.
    pub fn load(spec: FrameEncoderSpec, weights: &Weights) -> Self {
        let weights = weights.named(bart_layer_names());
        let width = spec.hidden;
        let first = ConvSpec { padding: [1], ..ConvSpec::new(spec.bands, width, [3]) };
        let second = ConvSpec { padding: [1], stride: [2], ..ConvSpec::new(width, width, [3]) };
        let layer = layer(width, (spec.heads, spec.intermediate), spec.activation, false);
        let stack = StackSpec { layers: vec![layer; spec.layers as usize], final_norm: None };
        Self {
            convolutions: [Conv::load(&weights.at("conv1"), first), Conv::load(&weights.at("conv2"), second)],
            positions: Embedding::load(&weights.at("embed_positions"), spec.positions, width),
            stack: Stack::load(&weights, &stack),
            norm: Norm::load(&weights.at("norm"), NORM, width),
            all_layers: false,
            spec,
        }
    }

    /// Frames of the input: it takes this many and no others.
    pub fn frames(&self) -> i64 {
        2 * self.spec.positions
    }
}

impl Body for FrameEncoder {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Any, Exactly, Named};
        let shape = [Named("batch"), Exactly(self.spec.bands), Exactly(self.frames())];
        let mask = match self.spec.masked {
            true => vec![Named("batch"), Exactly(1), Any, Exactly(self.spec.positions)],
            // Silence is not masked; the feature extractor makes a mask all the same.
            false => vec![Named("batch"), Any],
        };
        vec![
            Argument::required("input_features", Values::Float, &shape),
            Argument::optional("attention_mask", Values::Mask, &mask),
        ]
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let mut x = inputs.need("input_features")?.shallow_clone();
        for conv in &self.convolutions {
            x = Activation::Gelu.apply(&conv.forward(&x));
        }
        let x = x.permute([0, 2, 1]) + self.positions.rows(0, self.spec.positions);
        let mask = match inputs.get("attention_mask").filter(|_| self.spec.masked) {
            Some(mask) => Mask::Allowed(mask.to_kind(Kind::Bool)),
            None => Mask::None,
        };
        let mut context = Context::new(mask, inputs);
        context.hidden_states |= self.all_layers;
        let mut passed = self.stack.forward(x, &context, None);
        if self.spec.pooled {
            passed.last = passed.last.transpose(1, 2).avg_pool1d(2, 2, 0, false, true).transpose(1, 2);
        }
        passed.last = self.norm.forward(&passed.last);
        let passed = passed.tied();
        Ok(Features { hidden: passed.last.shallow_clone(), pooled: None, rest: passed.recorded("") })
    }

    fn width(&self) -> Option<i64> {
        Some(self.spec.hidden)
    }
}

impl Encoder for FrameEncoder {
    fn memory_mask(&self, _: &Inputs) -> Option<Tensor> {
        None
    }
}

/// Embeddings of tokens and positions, and the decoder's layers.
#[derive(Debug)]
pub struct WhisperDecoder {
    names: DecoderNames,
    config: WhisperConfig,
    tokens: Embedding,
    positions: Embedding,
    stack: Stack,
}

impl WhisperDecoder {
    /// Loads the decoder from the root of the base model's weights.
    fn load(config: &WhisperConfig, weights: &Weights, names: DecoderNames) -> Self {
        let weights = weights.at("decoder").named(bart_layer_names());
        let sizes = (config.decoder_attention_heads, config.decoder_ffn_dim);
        let layer = layer(config.d_model, sizes, config.activation_function, true);
        let stack = StackSpec { layers: vec![layer; config.decoder_layers as usize], final_norm: Some(NORM) };
        let tokens = Embedding::load(&weights.at("embed_tokens"), config.vocab_size, config.d_model);
        Self {
            names,
            tokens: tokens.with_padding(config.pad_token_id),
            positions: Embedding::load(&weights.at("embed_positions"), config.max_target_positions, config.d_model),
            stack: Stack::load(&weights, &stack),
            config: config.clone(),
        }
    }

    /// The vectors of the positions of `new` tokens after `past` others.
    fn place(&self, inputs: &Inputs, past: i64, new: i64) -> Result<Tensor> {
        if let Some(ids) = inputs.get(self.names.positions) {
            return Ok(self.positions.forward(ids));
        }
        let most = self.config.max_target_positions;
        if past + new > most {
            let message = format!("there are {past} tokens in the cache and {new} new ones; the model takes {most}");
            return Err(Error::input(self.names.ids, message));
        }
        Ok(self.positions.rows(past, new))
    }

    /// Passes the decoder's tokens through its layers, which look at `memory` where there is one.
    fn pass(&self, inputs: &Inputs, memory: Option<Tensor>, cache: Option<&mut Cache>) -> Result<Passed> {
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let x = embedded(inputs, self.names.ids, self.names.embeds, &self.tokens)?;
        let new = x.size()[1];
        let attention_mask = inputs.get(self.names.mask);
        covers(self.names.mask, attention_mask, past, new)?;
        let x = x + self.place(inputs, past, new)?;
        let mask = Mask::causal(attention_mask, new, past, None, &x);
        let context = Context::new(mask, inputs).with_memory(memory, Mask::None);
        Ok(self.stack.forward(x, &context, cache).tied())
    }
}

impl Decoder for WhisperDecoder {
    fn arguments(&self) -> Vec<Argument> {
        let WhisperConfig { vocab_size, d_model, max_target_positions, .. } = self.config;
        self.names.arguments(vocab_size, d_model, max_target_positions)
    }

    fn decode(&self, inputs: &Inputs, encoded: &Encoded, cache: Option<&mut Cache>) -> Result<Passed> {
        self.pass(inputs, Some(encoded.hidden.shallow_clone()), cache)
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        Some(self.tokens.forward(ids))
    }
}

/// The decoder alone, on what another model encoded or on nothing.
#[derive(Debug)]
struct DecoderAlone(WhisperDecoder);

impl Body for DecoderAlone {
    fn arguments(&self) -> Vec<Argument> {
        let memory = [Dim::Named("batch"), Dim::Named("encoded tokens"), Dim::Exactly(self.0.config.d_model)];
        let mut arguments = Decoder::arguments(&self.0);
        arguments.push(Argument::optional("encoder_outputs", Values::Float, &memory));
        arguments
    }

    fn run(&self, inputs: &Inputs, mut cache: Option<&mut Cache>) -> Result<Features> {
        let kept = cache.as_ref().and_then(|cache| cache.encoded.as_ref());
        let memory = inputs.get("encoder_outputs").or(kept).map(Tensor::shallow_clone);
        if let Some(cache) = cache.as_deref_mut() {
            cache.encoded = memory.as_ref().map(Tensor::shallow_clone);
        }
        let passed = self.0.pass(inputs, memory, cache)?;
        Ok(Features { hidden: passed.last.shallow_clone(), pooled: None, rest: passed.recorded("") })
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        Decoder::embed(&self.0, ids)
    }
}

type WhisperBody = EncoderDecoder<FrameEncoder, WhisperDecoder>;

fn body(config: &WhisperConfig, weights: &Weights) -> WhisperBody {
    let weights = weights.either(&["model", ""]);
    let decoder = WhisperDecoder::load(config, &weights, DecoderNames::BESIDE_ENCODER);
    EncoderDecoder::new(encoder(config, &weights), decoder, config.d_model)
}

/// The encoder, from the root of the base model's weights.
fn encoder(config: &WhisperConfig, weights: &Weights) -> FrameEncoder {
    FrameEncoder::load(FrameEncoderSpec::whisper(config), &weights.at("encoder"))
}

/// The language model's head, which has the table of the decoder's tokens unless the configuration says otherwise.
fn output(config: &WhisperConfig, weights: &Weights, decoder: &WhisperDecoder) -> NextToken {
    let table: Weight = match config.tie_word_embeddings {
        true => weights.weight_tied("proj_out.weight", &decoder.tokens.table()),
        false => weights.matrix("proj_out.weight", &[config.vocab_size, config.d_model]),
    };
    NextToken(Linear::tied(table, None))
}

impl Head<tasks::FeatureExtraction> for Whisper {
    fn load(config: &WhisperConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(body(config, weights), Bare)))
    }
}

impl Head<tasks::AutomaticSpeechRecognition> for Whisper {
    fn load(config: &WhisperConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let body = body(config, weights);
        let head = output(config, weights, body.decoder());
        let generation = Generation::EncoderDecoder { start: config.decoder_start_token_id, encodes: "input_features" };
        Ok(Box::new(Headed::generating(body, head, generation)))
    }
}

impl Head<tasks::TextGeneration> for Whisper {
    fn load(config: &WhisperConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let base = weights.either(&["model", ""]);
        base.ignore_below("encoder");
        let decoder = WhisperDecoder::load(config, &base, DecoderNames::ALONE);
        let head = output(config, weights, &decoder);
        Ok(Box::new(Headed::generating(DecoderAlone(decoder), head, Generation::DecoderOnly)))
    }
}

impl Head<tasks::AudioClassification> for Whisper {
    fn load(config: &WhisperConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let weighted = config.use_weighted_layer_sum;
        let encoder = encoder(config, &weights.either(&["model", ""]));
        let head = ProjectedMean::load(weights, config.d_model, config.classifier_proj_size, config.num_labels);
        let head = LayerSum::load(weights, weighted, config.encoder_layers, head).showing_layers();
        Ok(Box::new(Headed::new(FrameEncoder { all_layers: weighted, ..encoder }, head)))
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::inputs::validate;

    fn tiny() -> WhisperConfig {
        WhisperConfig {
            vocab_size: 7,
            num_mel_bins: 3,
            encoder_layers: 1,
            decoder_layers: 1,
            d_model: 6,
            max_source_positions: 4,
            max_target_positions: 5,
            pad_token_id: None,
            ..WhisperConfig::default()
        }
    }

    fn zeros(shape: &[i64], kind: Kind) -> Tensor {
        Tensor::zeros(shape, (kind, Device::Cpu))
    }

    #[test]
    fn audio_of_another_length_is_refused() {
        let model = <Whisper as Head<tasks::FeatureExtraction>>::load(&tiny(), &Weights::nothing()).unwrap();
        let with = |frames| {
            let inputs = Inputs::new().with("input_features", zeros(&[1, 3, frames], Kind::Float));
            validate(&model.arguments(), &inputs.with("decoder_input_ids", zeros(&[1, 2], Kind::Int64)))
        };
        assert!(with(8).is_ok());
        let message = with(7).unwrap_err().to_string();
        assert!(message.contains("input_features") && message.contains('8'), "{message}");
    }

    #[test]
    fn a_full_cache_is_refused() {
        let model = <Whisper as Head<tasks::TextGeneration>>::load(&tiny(), &Weights::nothing()).unwrap();
        let mut cache = Cache::new();
        let ids = |count| Inputs::new().with("input_ids", zeros(&[1, count], Kind::Int64));
        assert!(model.forward(&ids(3), Some(&mut cache)).is_ok());
        let message = model.forward(&ids(3), Some(&mut cache)).unwrap_err().to_string();
        assert!(message.contains("input_ids") && message.contains("takes 5"), "{message}");
    }
}
