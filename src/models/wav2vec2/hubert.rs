use super::{SpeechBody, SpeechConfig, SpeechSpec, classifier, clip_classifier, ctc, plain};
use crate::Result;
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Headed};
use crate::tasks;
use crate::weights::Weights;

crate::config! {
    /// Configuration of [`Hubert`].
    pub struct HubertConfig("hubert"): SpeechConfig {
        /// Whether frames are normalised before they are projected.
        feat_proj_layer_norm: bool = true,
        /// Whether positions come from frames normalised over the batch, and not from a weight-normalised kernel.
        conv_pos_batch_norm: bool = false,
    }
}

/// HuBERT (Hsu et al., 2021), wav2vec 2.0 trained on clusters of frames; `transformers.models.hubert`.
#[derive(Debug)]
pub struct Hubert;

impl Architecture for Hubert {
    type Config = HubertConfig;
}

/// What HuBERT is made of.
pub fn hubert(config: &HubertConfig) -> SpeechSpec {
    let mut spec = plain("hubert", config);
    spec.projection_norm = spec.projection_norm.filter(|_| config.feat_proj_layer_norm);
    if config.conv_pos_batch_norm {
        spec.position_norm = true;
        spec.position.weight_norm = None;
    }
    spec
}

impl Head<tasks::FeatureExtraction> for Hubert {
    fn load(config: &HubertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(SpeechBody::load(&hubert(config), weights), Bare)))
    }
}

impl Head<tasks::AutomaticSpeechRecognition> for Hubert {
    fn load(config: &HubertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        ctc(&hubert(config), config.vocab_size, weights)
    }
}

impl Head<tasks::AudioClassification> for Hubert {
    fn load(config: &HubertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        clip_classifier(&hubert(config), classifier(config), weights)
    }
}
