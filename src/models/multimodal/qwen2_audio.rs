use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::{Found, Multimodal, Projector, Source, Text, is_token};
use crate::config::{ModelConfig, divides, normalise_any_part, normalise_part, positive};
use crate::inputs::{Argument, Dim, Values};
use crate::model::{Architecture, Head, Module, Part};
use crate::models::llama::Qwen2Config;
use crate::models::whisper::{FrameEncoder, FrameEncoderSpec};
use crate::nn::heads::{Bare, Body, Headed};
use crate::nn::{Activation, Linear};
use crate::weights::Weights;
use crate::{Inputs, Outputs, Result, tasks};

crate::config! {
    /// Configuration of [`Qwen2AudioEncoder`].
    pub struct Qwen2AudioEncoderConfig("qwen2_audio_encoder") {
        /// Mel bands of the input.
        num_mel_bins: i64 = 128,
        /// Number of layers.
        encoder_layers: i64 = 32,
        /// Attention heads per layer.
        encoder_attention_heads: i64 = 20,
        /// Width of the feed-forward layers.
        encoder_ffn_dim: i64 = 5120,
        /// Width of the hidden states.
        d_model: i64 = 1280,
        /// Activation of the feed-forward layers.
        activation_function: Activation = Activation::Gelu,
        /// Length of the position table, half the frames of the input.
        max_source_positions: i64 = 1500,
    }
    ignored: ["encoder_layerdrop", "dropout", "attention_dropout", "activation_dropout", "scale_embedding"]
    aliases: [
        ("hidden_size", "d_model"),
        ("num_hidden_layers", "encoder_layers"),
        ("num_attention_heads", "encoder_attention_heads"),
        ("intermediate_size", "encoder_ffn_dim"),
    ]
    validate: |config: &Qwen2AudioEncoderConfig| {
        const TYPE: &str = "qwen2_audio_encoder";
        divides(TYPE, ("d_model", config.d_model), ("encoder_attention_heads", config.encoder_attention_heads))?;
        positive(
            TYPE,
            &[
                ("num_mel_bins", config.num_mel_bins),
                ("encoder_layers", config.encoder_layers),
                ("encoder_ffn_dim", config.encoder_ffn_dim),
                // Two of them become one.
                ("max_source_positions", config.max_source_positions / 2),
            ],
        )
    };
}

crate::config! {
    /// Configuration of [`Qwen2Audio`].
    pub struct Qwen2AudioConfig("qwen2_audio") {
        /// The encoder.
        audio_config: Qwen2AudioEncoderConfig = Qwen2AudioEncoderConfig::default(),
        /// The language model: any decoder of the roster.
        text_config: Value = json!({ "model_type": Qwen2Config::MODEL_TYPE }),
        /// The token that an audio feature takes the place of.
        audio_token_index: i64 = 151646,
    }
    aliases: [("audio_token_id", "audio_token_index")]
    parts: ["audio_config", "text_config"]
    upgrade: |fields: &mut Map<String, Value>, default: &Qwen2AudioConfig| {
        normalise_part::<Qwen2AudioEncoderConfig>(fields, "audio_config")?;
        normalise_any_part::<Qwen2Config>(fields, "text_config", default.text_config.clone())
    };
    validate: |config: &Qwen2AudioConfig| is_token("qwen2_audio", "audio_token_index", config.audio_token_index);
}

/// Qwen2-Audio (Chu et al., 2024); `transformers.models.qwen2_audio`.
#[derive(Debug)]
pub struct Qwen2Audio;

/// Its encoder, Whisper's with the mean of every two tokens.
#[derive(Debug)]
pub struct Qwen2AudioEncoder;

impl Architecture for Qwen2Audio {
    type Config = Qwen2AudioConfig;
}

impl Architecture for Qwen2AudioEncoder {
    type Config = Qwen2AudioEncoderConfig;
}

fn encoder(config: &Qwen2AudioEncoderConfig, weights: &Weights) -> FrameEncoder {
    let spec = FrameEncoderSpec {
        bands: config.num_mel_bins,
        hidden: config.d_model,
        layers: config.encoder_layers,
        heads: config.encoder_attention_heads,
        intermediate: config.encoder_ffn_dim,
        activation: config.activation_function,
        positions: config.max_source_positions,
        masked: true,
        pooled: true,
    };
    FrameEncoder::load(spec, weights)
}

impl Part for Qwen2AudioEncoder {
    fn load(config: &Qwen2AudioEncoderConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(encoder(config, weights), Bare)))
    }
}

/// Audio through the encoder, without the features of padded frames.
#[derive(Debug)]
struct Audio {
    encoder: FrameEncoder,
    projector: Projector,
    placeholder: i64,
}

impl Source for Audio {
    fn arguments(&self) -> Vec<Argument> {
        let frames = [Dim::Named("audios"), Dim::Exactly(self.encoder.frames())];
        let features = self.encoder.arguments().into_iter().filter(|argument| argument.name == "input_features");
        let features = features.map(|features| Argument { required: false, ..features }.renamed("batch", "audios"));
        features.chain([Argument::optional("feature_attention_mask", Values::Mask, &frames)]).collect()
    }

    fn features(&self, inputs: &Inputs) -> Result<Vec<Found>> {
        // Vectors that the caller gives have the features in them already.
        let audio = inputs.get("input_features").filter(|_| inputs.get("inputs_embeds").is_none());
        let Some(audio) = audio else { return Ok(Vec::new()) };
        let mask = inputs.need("feature_attention_mask")?.to_kind(Kind::Bool);
        let frames = mask.sum_dim_intlist([1].as_slice(), true, Kind::Int64);
        // Both times a half, rounded up by the convolution and down by the pooling.
        let halves = |length: &Tensor, more: i64| (length + more).divide_scalar_mode(2, "floor");
        let heard = halves(&frames, 1);
        let counts = halves(&heard, 0);
        let before =
            |counts: &Tensor, most: i64| Tensor::arange(most, (Kind::Int64, counts.device())).lt_tensor(counts);
        let seen = before(&heard, self.encoder.frames() / 2).unsqueeze(1).unsqueeze(1);
        let encoded = Inputs::new().with("input_features", audio.shallow_clone()).with("attention_mask", seen);
        let hidden = self.encoder.run(&encoded, None)?.hidden;
        let features = self.projector.forward(&hidden).index(&[Some(before(&counts, hidden.size()[1]))]);
        Ok(vec![Found { placeholder: self.placeholder, features, shown: Outputs::new() }])
    }
}

fn body(config: &Qwen2AudioConfig, weights: &Weights) -> Result<Multimodal> {
    // Files on the hub have the parts at the root, later ones below `model`.
    let place = |part: &str| weights.either(&[part, &format!("model.{part}")]);
    let text = Text::load("qwen2_audio", &config.text_config, &place("language_model"))?;
    let projector = place("multi_modal_projector").at("linear");
    let audio = Audio {
        encoder: encoder(&config.audio_config, &place("audio_tower")),
        projector: Projector::linear(Linear::load(&projector, config.audio_config.d_model, text.width(), true)),
        placeholder: config.audio_token_index,
    };
    Ok(Multimodal::new(text, audio).showing_mask())
}

impl Head<tasks::FeatureExtraction> for Qwen2Audio {
    fn load(config: &Qwen2AudioConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(body(config, weights)?.bare())
    }
}

impl Head<tasks::AudioTextToText> for Qwen2Audio {
    fn load(config: &Qwen2AudioConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let names = ["language_model.lm_head.weight", "lm_head.weight"];
        Ok(body(config, weights)?.generating(weights, &names, false, None))
    }
}
