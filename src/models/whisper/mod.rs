//! Whisper: a transformer encoder over log-mel frames and a decoder that writes their text.

mod config;

pub use config::WhisperConfig;

use tch::{Kind, Tensor};

use super::seq2seq::{
    DecoderAlone, DecoderNames, Encoder, EncoderDecoder, PositionSpec, SideSpec, TextDecoder, bart_layer_names,
};
use crate::inputs::{Argument, Dim, Values};
use crate::model::{Architecture, Generation, Head, Module};
use crate::nn::heads::{Bare, Body, Features, Headed, LayerSum, NextToken, ProjectedMean};
use crate::nn::{
    Activation, AttentionSpec, Biases, Context, Conv, ConvSpec, Embedding, LayerSpec, Linear, Mask, MlpSpec, Norm,
    NormKind, NormScale, NormSpec, Stack, StackSpec,
};
use crate::tasks;
use crate::weights::Weights;
use crate::{Cache, Inputs, Result};

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
        Ok(Features::passed(passed.tied()))
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

/// The decoder, from the root of the base model's weights.
fn decoder(config: &WhisperConfig, weights: &Weights, names: DecoderNames) -> TextDecoder {
    let sizes = (config.decoder_attention_heads, config.decoder_ffn_dim);
    let layer = layer(config.d_model, sizes, config.activation_function, true);
    let spec = SideSpec {
        vocabulary: config.vocab_size,
        width: config.d_model,
        pad_token: config.pad_token_id,
        scale: None,
        scales_given: false,
        positions: PositionSpec::Learned { count: config.max_target_positions, offset: 0 },
        embedding_norm: None,
        norms_tokens: false,
        stack: StackSpec { layers: vec![layer; config.decoder_layers as usize], final_norm: Some(NORM) },
    };
    TextDecoder::load(spec, names, &weights.at("decoder"), None)
}

type WhisperBody = EncoderDecoder<FrameEncoder, TextDecoder>;

fn body(config: &WhisperConfig, weights: &Weights) -> WhisperBody {
    let weights = weights.either(&["model", ""]);
    let decoder = decoder(config, &weights, DecoderNames::BESIDE_ENCODER.placed("decoder_position_ids"));
    EncoderDecoder::new(encoder(config, &weights), decoder, config.d_model)
}

/// The encoder, from the root of the base model's weights.
fn encoder(config: &WhisperConfig, weights: &Weights) -> FrameEncoder {
    FrameEncoder::load(FrameEncoderSpec::whisper(config), &weights.at("encoder"))
}

/// The language model's head, which has the table of the decoder's tokens unless the configuration says otherwise.
fn output(config: &WhisperConfig, weights: &Weights, decoder: &TextDecoder) -> NextToken {
    let matrix = match config.tie_word_embeddings {
        true => weights.matrix_tied("proj_out.weight", &decoder.table()),
        false => weights.matrix("proj_out.weight", [config.vocab_size, config.d_model]),
    };
    NextToken(Linear::of(matrix, None))
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
        // Its arguments have no positions, so that those of padding count when it generates.
        let decoder = decoder(config, &base, DecoderNames::ALONE);
        let head = output(config, weights, &decoder);
        let body = DecoderAlone::new(decoder, config.d_model).unmasked("encoder_outputs");
        Ok(Box::new(Headed::generating(body, head, Generation::DecoderOnly)))
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
