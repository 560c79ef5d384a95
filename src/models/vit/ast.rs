use super::{VisionSpec, VitConfig, spec, tower};
use crate::config::positive;
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Classifier, Headed};
use crate::nn::{NormSpec, Pooling, PoolingSpec, Positions};
use crate::tasks;
use crate::weights::Weights;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`AudioSpectrogramTransformer`].
    pub struct AstConfig("audio-spectrogram-transformer"): VitConfig {
        /// Bins from patch to patch.
        frequency_stride: i64 = 10,
        /// Frames from patch to patch.
        time_stride: i64 = 10,
        /// Frames of a spectrogram.
        max_length: i64 = 1024,
        /// Bins of a spectrogram.
        num_mel_bins: i64 = 128,
    }
    without: ["image_size", "num_channels", "encoder_stride", "pooler_output_size", "pooler_act"]
    validate: validate;
}

fn validate(config: &AstConfig) -> Result<()> {
    let name = "audio-spectrogram-transformer";
    let sides = [("num_mel_bins", config.num_mel_bins), ("max_length", config.max_length)];
    for ((field, side), patch) in std::iter::zip(sides, config.patch_size.sides()) {
        positive(name, &[("patch_size", patch), (field, side)])?;
        if side < patch {
            return Err(Error::config(name, field, format!("{side} is smaller than `patch_size` ({patch})")));
        }
    }
    positive(name, &[("frequency_stride", config.frequency_stride), ("time_stride", config.time_stride)])
}

/// AST (Gong et al., 2021), ViT over a spectrogram; `transformers.models.audio_spectrogram_transformer`.
#[derive(Debug)]
pub struct AudioSpectrogramTransformer;

impl Architecture for AudioSpectrogramTransformer {
    type Config = AstConfig;
}

/// The stored place of the encoder.
const PREFIX: &str = "audio_spectrogram_transformer";

/// AST's encoder.
fn ast(config: &AstConfig) -> VisionSpec {
    let base = spec(config).with_patches(|patches| {
        patches.channels = 1;
        patches.image = [config.num_mel_bins, config.max_length];
        patches.stride = [config.frequency_stride, config.time_stride];
        patches.tokens = &["class", "distillation"];
        patches.positions = Positions::Fixed;
    });
    VisionSpec { spectrogram: true, ..base }
}

impl Head<tasks::FeatureExtraction> for AudioSpectrogramTransformer {
    fn load(config: &AstConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let spec = ast(config).pooled(PoolingSpec::Span { from: 0, count: Some(2), norm: None });
        Ok(Box::new(Headed::new(tower(weights, PREFIX, &spec), Bare)))
    }
}

impl Head<tasks::AudioClassification> for AudioSpectrogramTransformer {
    fn load(config: &AstConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let (head, norm) = (weights.at("classifier"), NormSpec::layer(config.layer_norm_eps));
        let pooling = PoolingSpec::Span { from: 0, count: Some(2), norm: Some(norm) };
        let pooling = Pooling::load(&head.at("layernorm"), pooling, config.hidden_size);
        let head = Classifier::load(&head.at("dense"), pooling, config.hidden_size, config.num_labels);
        Ok(Box::new(Headed::new(tower(weights, PREFIX, &ast(config)), head)))
    }
}
