//! SpeechT5: one encoder-decoder for speech and text on either side.
//!
//! What the classes differ in stands before the encoder and before and after the decoder (`prenets`, `postnet`): raw
//! audio, text, a spectrogram, or nothing. The encoder adds learned keys of distances to its attention. `hifigan` is the
//! vocoder that makes audio of spectrograms.

mod config;
mod hifigan;
mod postnet;
mod prenets;

pub use config::SpeechT5Config;
pub use hifigan::{HifiGan, HifiGanSpec, SpeechT5HifiGan, SpeechT5HifiGanConfig};

use tch::Tensor;

use self::postnet::SpectrogramPostnet;
use self::prenets::{AudioPrenet, EncoderPrenet, Given, SpectrogramPrenet, TextPrenet};
use super::seq2seq::{Decoder, DecoderNames, Encoded, Encoder, EncoderDecoder, PositionSpec, SideSpec, TextDecoder};
use crate::inputs::{Argument, Dim, Values, covers};
use crate::model::{Architecture, Generation, Head, Module};
use crate::nn::heads::{Bare, Body, Features, Headed, NextToken};
use crate::nn::{
    AttentionSpec, Context, LayerSpec, Linear, Mask, MlpSpec, Norm, NormSpec, Placement, RelativeTable,
    RelativeTableSpec, Stack, StackSpec,
};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Cache, Inputs, LayerFormula, Result};

/// SpeechT5 (Ao et al., 2021); `transformers.models.speecht5`.
#[derive(Debug)]
pub struct SpeechT5;

impl Architecture for SpeechT5 {
    type Config = SpeechT5Config;
}

/// Layers of one side, which normalise each sum.
fn stack(config: &SpeechT5Config, (layers, heads, intermediate): (i64, i64, i64), cross: bool) -> StackSpec {
    let attention = AttentionSpec { eager: true, ..AttentionSpec::even(config.hidden_size, heads) };
    let mlp = MlpSpec::plain(config.hidden_size, intermediate, config.hidden_act);
    let layer = LayerSpec {
        placement: Placement::Post,
        cross: cross.then_some(attention),
        ..LayerSpec::new(attention, mlp, NormSpec::layer(config.layer_norm_eps))
    };
    StackSpec { layers: vec![layer; layers as usize], final_norm: None }
}

fn decoder_stack(config: &SpeechT5Config) -> StackSpec {
    stack(config, (config.decoder_layers, config.decoder_attention_heads, config.decoder_ffn_dim), true)
}

fn encoder_names() -> NameTable {
    NameTable::new().names(&[
        ("prenet.features", "prenet.feature_encoder.conv_layers"),
        ("prenet.features.*.norm", "prenet.feature_encoder.conv_layers.*.layer_norm"),
        ("prenet.projection_norm", "prenet.feature_projection.layer_norm"),
        ("prenet.projection", "prenet.feature_projection.projection"),
        ("prenet.position", "prenet.pos_conv_embed.conv"),
        ("norm", "wrapped_encoder.layer_norm"),
        ("relative.table", "wrapped_encoder.embed_positions.pe_k"),
        ("layers.*.attention.q", "wrapped_encoder.layers.*.attention.q_proj"),
        ("layers.*.attention.k", "wrapped_encoder.layers.*.attention.k_proj"),
        ("layers.*.attention.v", "wrapped_encoder.layers.*.attention.v_proj"),
        ("layers.*.attention.o", "wrapped_encoder.layers.*.attention.out_proj"),
        ("layers.*.attention_norm", "wrapped_encoder.layers.*.layer_norm"),
        ("layers.*.mlp.up", "wrapped_encoder.layers.*.feed_forward.intermediate_dense"),
        ("layers.*.mlp.down", "wrapped_encoder.layers.*.feed_forward.output_dense"),
        ("layers.*.mlp_norm", "wrapped_encoder.layers.*.final_layer_norm"),
    ])
}

fn decoder_names() -> NameTable {
    NameTable::new().names(&[
        ("embed_tokens", "prenet.embed_tokens"),
        ("embed_positions", "prenet.embed_positions"),
        ("layers.*.attention.q", "wrapped_decoder.layers.*.self_attn.q_proj"),
        ("layers.*.attention.k", "wrapped_decoder.layers.*.self_attn.k_proj"),
        ("layers.*.attention.v", "wrapped_decoder.layers.*.self_attn.v_proj"),
        ("layers.*.attention.o", "wrapped_decoder.layers.*.self_attn.out_proj"),
        ("layers.*.attention_norm", "wrapped_decoder.layers.*.self_attn_layer_norm"),
        ("layers.*.cross.q", "wrapped_decoder.layers.*.encoder_attn.q_proj"),
        ("layers.*.cross.k", "wrapped_decoder.layers.*.encoder_attn.k_proj"),
        ("layers.*.cross.v", "wrapped_decoder.layers.*.encoder_attn.v_proj"),
        ("layers.*.cross.o", "wrapped_decoder.layers.*.encoder_attn.out_proj"),
        ("layers.*.cross_norm", "wrapped_decoder.layers.*.encoder_attn_layer_norm"),
        ("layers.*.mlp.up", "wrapped_decoder.layers.*.feed_forward.intermediate_dense"),
        ("layers.*.mlp.down", "wrapped_decoder.layers.*.feed_forward.output_dense"),
        ("layers.*.mlp_norm", "wrapped_decoder.layers.*.final_layer_norm"),
    ])
}

/// The encoder, whatever stands before it.
#[derive(Debug)]
struct SpeechT5Encoder {
    prenet: Box<dyn EncoderPrenet>,
    norm: Norm,
    relative: RelativeTable,
    stack: Stack,
}

impl SpeechT5Encoder {
    /// Loads the encoder from its place, with the prenet that `prenet` loads from its own.
    fn load<P: EncoderPrenet + 'static>(
        config: &SpeechT5Config,
        weights: &Weights,
        prenet: impl FnOnce(&SpeechT5Config, &Weights) -> P,
    ) -> Self {
        let weights = weights.named(encoder_names());
        let (width, heads) = (config.hidden_size, config.encoder_attention_heads);
        let distances = RelativeTableSpec {
            hidden: width / heads,
            span: config.encoder_max_relative_position,
            buckets: None,
            norm: None,
        };
        Self {
            prenet: Box::new(prenet(config, &weights.at("prenet"))),
            norm: Norm::load(&weights.at("norm"), NormSpec::layer(config.layer_norm_eps), width),
            relative: RelativeTable::load(&weights.at("relative"), distances),
            stack: Stack::load(&weights, &stack(config, (config.encoder_layers, heads, config.encoder_ffn_dim), false)),
        }
    }
}

impl Body for SpeechT5Encoder {
    fn arguments(&self) -> Vec<Argument> {
        self.prenet.arguments()
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let x = self.norm.forward(&self.prenet.forward(inputs)?);
        let (tokens, real) = (x.size()[1], self.prenet.real(inputs));
        covers("attention_mask", real.as_ref(), 0, tokens)?;
        let mut context = Context::new(Mask::padding(real.as_ref()), inputs);
        context.relative = Some(self.relative.forward(tokens));
        Ok(Features::passed(self.stack.forward(x, &context, None)))
    }
}

impl Encoder for SpeechT5Encoder {
    fn memory_mask(&self, inputs: &Inputs) -> Option<Tensor> {
        self.prenet.real(inputs)
    }
}

/// The decoder of what is no text: of spectrograms, or of hidden states that the caller gives.
#[derive(Debug)]
struct SpeechT5Decoder {
    width: i64,
    prenet: Option<SpectrogramPrenet>,
    stack: Stack,
}

impl SpeechT5Decoder {
    /// Loads the decoder from its place.
    fn load(config: &SpeechT5Config, weights: &Weights, spectrograms: bool) -> Self {
        let weights = weights.named(decoder_names());
        Self {
            width: config.hidden_size,
            prenet: spectrograms.then(|| SpectrogramPrenet::load(config, &weights.at("prenet"))),
            stack: Stack::load(&weights, &decoder_stack(config)),
        }
    }
}

impl Decoder for SpeechT5Decoder {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Exactly, Named};
        let given = [Named("batch"), Named("decoder frames"), Exactly(self.width)];
        let mut arguments = match &self.prenet {
            Some(prenet) => prenet.arguments(),
            None => vec![Argument::required("decoder_input_values", Values::Float, &given)],
        };
        let mask = [Named("batch"), Named("all decoder frames")];
        arguments.push(Argument::optional("decoder_attention_mask", Values::Mask, &mask));
        arguments
    }

    fn decode(&self, inputs: &Inputs, encoded: Option<&Encoded>, cache: Option<&mut Cache>) -> Result<Features> {
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let x = match &self.prenet {
            Some(prenet) => prenet.forward(inputs, past)?,
            None => inputs.need("decoder_input_values")?.shallow_clone(),
        };
        let (new, attention_mask) = (x.size()[1], inputs.get("decoder_attention_mask"));
        covers("decoder_attention_mask", attention_mask, past, new)?;
        Cache::check_room(cache.as_deref(), new)?;
        let context = Context::new(Mask::causal(attention_mask, new, past, None, &x), inputs);
        Ok(Features::passed(self.stack.forward(x, &Encoded::seen_by(context, encoded), cache)))
    }

    fn cached(&self) -> Vec<LayerFormula> {
        self.stack.cached()
    }
}

/// The base model's place in the weights of a class.
fn base(weights: &Weights) -> Weights {
    weights.either(&["speecht5", ""])
}

/// An encoder and a decoder that makes spectrograms, and what refines them.
fn to_speech<P: EncoderPrenet + 'static>(
    config: &SpeechT5Config,
    weights: &Weights,
    prenet: impl FnOnce(&SpeechT5Config, &Weights) -> P,
) -> Box<dyn Module> {
    let base = base(weights);
    let encoder = SpeechT5Encoder::load(config, &base.at("encoder"), prenet);
    let decoder = SpeechT5Decoder::load(config, &base.at("decoder"), true);
    let postnet = SpectrogramPostnet::load(config, &weights.at("speech_decoder_postnet"));
    Box::new(Headed::new(EncoderDecoder::new(encoder, decoder, config.hidden_size), postnet))
}

impl Head<tasks::FeatureExtraction> for SpeechT5 {
    fn load(config: &SpeechT5Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let weights = base(weights);
        let encoder = SpeechT5Encoder::load(config, &weights.at("encoder"), |config, _| Given(config.hidden_size));
        let decoder = SpeechT5Decoder::load(config, &weights.at("decoder"), false);
        Ok(Box::new(Headed::new(EncoderDecoder::new(encoder, decoder, config.hidden_size), Bare)))
    }
}

impl Head<tasks::AutomaticSpeechRecognition> for SpeechT5 {
    fn load(config: &SpeechT5Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let base = base(weights);
        let encoder = SpeechT5Encoder::load(config, &base.at("encoder"), AudioPrenet::load);
        let spec = SideSpec {
            vocabulary: config.vocab_size,
            width: config.hidden_size,
            pad_token: Some(config.pad_token_id),
            scale: config.scale_embedding.then(|| (config.hidden_size as f64).sqrt()),
            scales_given: false,
            positions: PositionSpec::Unpadded { padding: config.pad_token_id },
            embedding_norm: None,
            norms_tokens: false,
            stack: decoder_stack(config),
        };
        let place = base.at("decoder").named(decoder_names());
        let decoder = TextDecoder::load_named(spec, DecoderNames::BESIDE_ENCODER, &place, None);
        let place = weights.at("text_decoder_postnet");
        let matrix = match config.tie_word_embeddings {
            true => place.matrix_tied("lm_head.weight", &decoder.table()),
            false => place.matrix("lm_head.weight", [config.vocab_size, config.hidden_size]),
        };
        let body = EncoderDecoder::new(encoder, decoder, config.hidden_size);
        let generation = Generation::EncoderDecoder { start: config.decoder_start_token_id, encodes: "input_values" };
        Ok(Box::new(Headed::generating(body, NextToken(Linear::of(matrix, None)), generation)))
    }
}

impl Head<tasks::TextToAudio> for SpeechT5 {
    fn load(config: &SpeechT5Config, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(to_speech(config, weights, TextPrenet::load))
    }
}

impl Head<tasks::SpeechToSpeech> for SpeechT5 {
    fn load(config: &SpeechT5Config, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(to_speech(config, weights, AudioPrenet::load))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::{Device, Kind};

    use super::*;
    use crate::models::wav2vec2::RawAudioConfig;
    use crate::weights::{LoadOptions, TensorSource};

    fn tiny() -> SpeechT5Config {
        SpeechT5Config {
            vocab_size: 7,
            base: RawAudioConfig { hidden_size: 8, ..RawAudioConfig::default() },
            encoder_layers: 1,
            encoder_attention_heads: 2,
            encoder_ffn_dim: 6,
            decoder_layers: 2,
            decoder_attention_heads: 4,
            decoder_ffn_dim: 5,
            num_mel_bins: 3,
            speech_decoder_prenet_layers: 0,
            speech_decoder_prenet_units: 3,
            speaker_embedding_dim: 4,
            speech_decoder_postnet_layers: 0,
            max_speech_positions: 5,
            ..SpeechT5Config::default()
        }
    }

    fn loaded(config: &SpeechT5Config) -> Box<dyn Module> {
        let load = <SpeechT5 as Head<tasks::TextToAudio>>::load;
        let nothing = Weights::nothing();
        load(config, &nothing).unwrap();
        tch::manual_seed(5);
        let draw = |(name, shape): (String, Vec<i64>)| (name, Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.5);
        let tensors: BTreeMap<_, _> = nothing.expected().into_iter().map(draw).collect();
        load(config, &Weights::new(TensorSource::Memory(tensors), LoadOptions::default())).unwrap()
    }

    fn inputs(frames: Tensor) -> Inputs {
        Inputs::new()
            .with("input_ids", Tensor::from_slice2(&[[4_i64, 5, 2], [3, 6, 2]]))
            .with("decoder_input_values", frames)
            .with("speaker_embeddings", Tensor::from_slice2(&[[0.5_f32, -1.0, 2.0, 0.1], [1.0, 0.3, -0.2, 0.7]]))
    }

    #[test]
    fn frames_in_chunks_through_a_cache_are_those_of_one_pass() {
        let model = loaded(&tiny());
        let frames = Tensor::randn([2, 5, 3], (Kind::Float, Device::Cpu));
        let whole = model.forward(&inputs(frames.shallow_clone()), None).unwrap();
        let mut cache = Cache::new();
        let chunks: Vec<_> = [(0, 2), (2, 1), (3, 2)]
            .map(|(start, count)| model.forward(&inputs(frames.narrow(1, start, count)), Some(&mut cache)).unwrap())
            .into();
        for name in ["spectrogram", "stop_logits"] {
            let parts: Vec<_> = chunks.iter().filter_map(|outputs| outputs.get(name)).collect();
            let whole = whole.get(name).unwrap();
            // Two frames a step.
            assert_eq!(whole.size()[1], 10);
            assert!(Tensor::cat(&parts, 1).allclose(whole, 1e-4, 1e-5, false), "{name}");
        }
        let message = model.forward(&inputs(frames.narrow(1, 0, 1)), Some(&mut cache)).unwrap_err().to_string();
        assert!(message.contains("decoder_input_values") && message.contains("takes 5"), "{message}");
    }
}
