use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ConvPositions, FeatureSpec};
use crate::Result;
use crate::config::{divides, positive, same_length};
use crate::nn::{Activation, ConvSpec};
use crate::proofs::{Kind, Takes};

/// Which convolutions over raw audio are normalised, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureNorm {
    /// The first, each channel over time.
    Group,
    /// All, each frame over its channels.
    Layer,
}

impl Takes for FeatureNorm {
    const KIND: Kind = Kind::Str;
}

crate::config! {
    /// What the configurations of models that read raw audio have in common: convolutions make frames of it, and one
    /// more convolution encodes their positions.
    pub struct RawAudioConfig("raw audio") {
        /// Width of the hidden states.
        hidden_size: i64 = 768,
        /// Activation of the feed-forward layers.
        hidden_act: Activation = Activation::Gelu,
        /// Added to variances in the transformer.
        layer_norm_eps: f64 = 1e-5,
        /// Normalisation of the convolutions over raw audio.
        feat_extract_norm: FeatureNorm = FeatureNorm::Group,
        /// Activation of the convolutions.
        feat_extract_activation: Activation = Activation::Gelu,
        /// Channels of each convolution over raw audio.
        conv_dim: Vec<i64> = vec![512; 7],
        /// Their strides.
        conv_stride: Vec<i64> = vec![5, 2, 2, 2, 2, 2, 2],
        /// Their kernels.
        conv_kernel: Vec<i64> = vec![10, 3, 3, 3, 3, 2, 2],
        /// Whether they have a bias.
        conv_bias: bool = false,
        /// Kernel of the convolution that encodes positions.
        num_conv_pos_embeddings: i64 = 128,
        /// Its groups.
        num_conv_pos_embedding_groups: i64 = 16,
        /// Share of frames masked in training; the mask's vector exists where this or the next is positive.
        mask_time_prob: f64 = 0.05,
        /// Share of channels masked in training.
        mask_feature_prob: f64 = 0.0,
    }
    ignored: [
        "hidden_dropout",
        "activation_dropout",
        "attention_dropout",
        "feat_proj_dropout",
        "mask_time_length",
        "mask_time_min_masks",
        "mask_feature_length",
        "mask_feature_min_masks",
        "num_feat_extract_layers",
    ]
    validate: |config: &RawAudioConfig| {
        const TYPE: &str = "raw audio";
        let groups = ("num_conv_pos_embedding_groups", config.num_conv_pos_embedding_groups);
        divides(TYPE, ("hidden_size", config.hidden_size), groups)?;
        positive(TYPE, &[("num_conv_pos_embeddings", config.num_conv_pos_embeddings)])?;
        let lists = [("conv_stride", &config.conv_stride), ("conv_kernel", &config.conv_kernel)];
        same_length(TYPE, ("conv_dim", &config.conv_dim), &lists)
    };
}

impl RawAudioConfig {
    /// The convolutions that make frames of raw audio.
    pub fn features(&self) -> FeatureSpec {
        FeatureSpec::new(
            self.feat_extract_norm,
            &self.conv_dim,
            (&self.conv_kernel, &self.conv_stride),
            self.conv_bias,
            self.feat_extract_activation,
        )
    }

    /// The convolution that encodes positions.
    pub fn positions(&self) -> ConvSpec<1> {
        ConvPositions::spec(self.hidden_size, self.num_conv_pos_embeddings, self.num_conv_pos_embedding_groups)
    }

    /// Whether there is a vector that stands for masked frames.
    pub fn masked(&self) -> bool {
        self.mask_time_prob > 0.0 || self.mask_feature_prob > 0.0
    }
}

crate::config! {
    /// What the configurations of speech encoders over raw audio have in common; each architecture derives its own from it.
    pub struct SpeechConfig("speech"): RawAudioConfig {
        /// Characters of the CTC head.
        vocab_size: Option<i64> = Some(32),
        /// Number of layers.
        num_hidden_layers: i64 = 12,
        /// Attention heads per layer.
        num_attention_heads: i64 = 12,
        /// Width of the feed-forward layers.
        intermediate_size: i64 = 3072,
        /// Whether layers normalise what goes into their sublayers instead of what comes out.
        do_stable_layer_norm: bool = false,
        /// Whether `mask_time_indices` has an effect.
        apply_spec_augment: bool = true,
        /// Whether the classification heads read a weighted sum of all layers.
        use_weighted_layer_sum: bool = false,
        /// Width between the projector and the classifier.
        classifier_proj_size: i64 = 256,
    }
    ignored: ["final_dropout", "layerdrop", "ctc_loss_reduction", "ctc_zero_infinity"]
    validate: validate;
}

crate::config! {
    /// Configuration of [`Wav2Vec2`](super::Wav2Vec2).
    pub struct Wav2Vec2Config("wav2vec2"): SpeechConfig {
        /// Entries of each codebook of the quantizer.
        num_codevectors_per_group: i64 = 320,
        /// Codebooks.
        num_codevector_groups: i64 = 2,
        /// What contrastive logits are divided by.
        contrastive_logits_temperature: f64 = 0.1,
        /// Width of quantized frames.
        codevector_dim: i64 = 256,
        /// Width in which predicted and quantized frames are compared.
        proj_codevector_dim: i64 = 256,
        /// Weight of the diversity loss.
        diversity_loss_weight: f64 = 0.1,
        /// Channels of the x-vector's convolutions.
        tdnn_dim: Vec<i64> = vec![512, 512, 512, 512, 1500],
        /// Their kernels.
        tdnn_kernel: Vec<i64> = vec![5, 3, 3, 1, 1],
        /// Their dilations.
        tdnn_dilation: Vec<i64> = vec![1, 2, 3, 1, 1],
        /// Width of the x-vector.
        xvector_output_dim: i64 = 512,
        /// Whether strided convolutions follow the transformer.
        add_adapter: bool = false,
        /// Their kernel.
        adapter_kernel_size: i64 = 3,
        /// Their stride.
        adapter_stride: i64 = 2,
        /// Their number.
        num_adapter_layers: i64 = 3,
        /// Their channels; `hidden_size` where it is not given.
        output_hidden_size: i64 = 768,
        /// Width of the adapter to a language in each layer, where there is one; only layers that normalise their input
        /// have it.
        adapter_attn_dim: Option<i64> = None,
    }
    ignored: ["feat_quantizer_dropout", "num_negatives"]
    upgrade: upgrade;
    validate: |config: &Wav2Vec2Config| positive(
        "wav2vec2",
        &[
            ("output_hidden_size", config.output_hidden_size),
            ("adapter_kernel_size", config.adapter_kernel_size),
            ("adapter_stride", config.adapter_stride),
            ("adapter_attn_dim", config.adapter_attn_dim.unwrap_or(1)),
        ],
    );
}

fn upgrade(fields: &mut Map<String, Value>, default: &Wav2Vec2Config) -> Result<()> {
    let given = |value: &Value| !value.is_null() && value.as_i64() != Some(0);
    if !fields.get("output_hidden_size").is_some_and(given) {
        let hidden = fields.get("hidden_size").cloned().unwrap_or_else(|| default.hidden_size.into());
        fields.insert("output_hidden_size".into(), hidden);
    }
    Ok(())
}

fn validate(config: &SpeechConfig) -> Result<()> {
    const TYPE: &str = "speech";
    divides(TYPE, ("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads))?;
    positive(
        TYPE,
        &[
            ("vocab_size", config.vocab_size.unwrap_or(1)),
            ("num_hidden_layers", config.num_hidden_layers),
            ("intermediate_size", config.intermediate_size),
            ("classifier_proj_size", config.classifier_proj_size),
        ],
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelConfig;
    use crate::model::Head;
    use crate::models::wav2vec2::Wav2Vec2;
    use crate::tasks::{AudioClassification, AutomaticSpeechRecognition};
    use crate::weights::Weights;

    fn parsed(fields: Value) -> Result<Wav2Vec2Config> {
        Wav2Vec2Config::from_json(&fields)
    }

    #[test]
    fn the_width_at_the_end_is_that_of_the_transformer_unless_given() {
        assert_eq!(parsed(json!({})).unwrap(), Wav2Vec2Config::default());
        assert_eq!(parsed(json!({"hidden_size": 960})).unwrap().output_hidden_size, 960);
        let null = json!({"hidden_size": 960, "output_hidden_size": null});
        assert_eq!(parsed(null).unwrap().output_hidden_size, 960);
        let given = json!({"hidden_size": 960, "output_hidden_size": 512});
        assert_eq!(parsed(given).unwrap().output_hidden_size, 512);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let refused = |fields: Value, words: &[&str]| {
            let message = parsed(fields).unwrap_err().to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        };
        refused(json!({"feat_extract_norm": "batch"}), &["feat_extract_norm", "batch", "group", "layer"]);
        refused(json!({"conv_stride": [5, 2]}), &["conv_stride", "2 values", "conv_dim", "7"]);
        refused(json!({"conv_dim": [], "conv_stride": [], "conv_kernel": []}), &["conv_dim", "empty"]);
        refused(json!({"num_conv_pos_embedding_groups": 7}), &["hidden_size", "num_conv_pos_embedding_groups"]);
    }

    #[test]
    fn classes_refuse_configurations_that_they_cannot_serve() {
        let adapter = parsed(json!({"add_adapter": true})).unwrap();
        let error = <Wav2Vec2 as Head<AudioClassification>>::load(&adapter, &Weights::nothing()).unwrap_err();
        assert!(error.to_string().contains("add_adapter"), "{error}");
        let nothing = parsed(json!({"vocab_size": null})).unwrap();
        let error = <Wav2Vec2 as Head<AutomaticSpeechRecognition>>::load(&nothing, &Weights::nothing()).unwrap_err();
        assert!(error.to_string().contains("vocab_size"), "{error}");
    }
}
