use serde_json::{Map, Value};

use super::{ClassifierPooling, ModernSpec};
use crate::Result;
use crate::config::{divides, positive};
use crate::models::classes::architecture;
use crate::models::decoder::{DecoderLayer, DecoderSpec, FULL, Names, SLIDING, check_layer_types, fill_layer_types};
use crate::nn::heads::{PredictionBias, PredictionSpec, TransformSpec};
use crate::nn::rope::{self, RopeParameters};
use crate::nn::{Activation, AttentionSpec, Biases, LayerSpec, MlpSpec, NormSpec};
use crate::weights::NameTable;

crate::config! {
    /// Configuration of [`ModernBert`].
    pub struct ModernBertConfig("modernbert") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 50368,
        /// Width of the hidden states.
        hidden_size: i64 = 768,
        /// Width of the feed-forward layers.
        intermediate_size: i64 = 1152,
        /// Number of layers.
        num_hidden_layers: i64 = 22,
        /// Attention heads per layer.
        num_attention_heads: i64 = 12,
        /// Activation of the feed-forward layers.
        hidden_activation: Activation = Activation::Gelu,
        /// Length of the context, which stretches some frequencies.
        max_position_embeddings: i64 = 8192,
        /// Added to variances.
        norm_eps: f64 = 1e-5,
        /// Whether norms have a shift.
        norm_bias: bool = false,
        /// The token of padding, whose embedding is not trained.
        pad_token_id: Option<i64> = Some(50283),
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// What each layer sees: `full_attention` or `sliding_attention`.
        layer_types: Vec<String> = (0..22).map(|layer| of_every(3)(layer).to_owned()).collect(),
        /// Rotary positions, for each type of layer.
        rope_parameters: RopeParameters = RopeParameters::plain_by_type(&[(FULL, 160_000.0), (SLIDING, 10_000.0)]),
        /// Tokens of a window, half of them on either side.
        local_attention: i64 = 128,
        /// Whether the feed-forward layers have a bias.
        mlp_bias: bool = false,
        /// Whether the head over the vocabulary has a bias.
        decoder_bias: bool = true,
        /// How a sequence becomes one vector.
        classifier_pooling: ClassifierPooling = ClassifierPooling::Cls,
        /// Whether the dense layer of the heads has a bias.
        classifier_bias: bool = false,
        /// Activation of the heads.
        classifier_activation: Activation = Activation::Gelu,
        /// Whether the head over the vocabulary uses the table of token embeddings.
        tie_word_embeddings: bool = true,
    }
    // Sparse predictions are those of labels, in training.
    ignored: [
        "initializer_cutoff_factor", "attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout",
        "deterministic_flash_attn", "sparse_prediction", "sparse_pred_ignore_index",
    ]
    upgrade: upgrade;
    validate: validate;
}

/// The types of layers of which every `count`th sees all tokens.
fn of_every(count: i64) -> impl Fn(i64) -> &'static str {
    move |layer| if layer % count.max(1) == 0 { FULL } else { SLIDING }
}

/// Brings `global_attn_every_n_layers`, `global_rope_theta`, `local_rope_theta` and `rope_scaling` into today's form.
fn upgrade(fields: &mut Map<String, Value>, default: &ModernBertConfig) -> Result<()> {
    let every = fields.remove("global_attn_every_n_layers").and_then(|count| count.as_i64()).unwrap_or(3);
    fill_layer_types(fields, default.num_hidden_layers, of_every(every));
    let scaling = fields.remove("rope_scaling");
    let older = [(FULL, fields.remove("global_rope_theta")), (SLIDING, fields.remove("local_rope_theta"))];
    let rope = fields.entry("rope_parameters").or_insert(Value::Null);
    if rope.is_null() {
        *rope = Map::new().into();
    }
    for (kind, theta) in older {
        let Some(rope) = rope.as_object_mut() else { continue };
        let of_kind = rope.entry(kind).or_insert(Value::Null);
        if of_kind.is_null() {
            *of_kind = Map::new().into();
        }
        let Some(of_kind) = of_kind.as_object_mut() else { continue };
        if let Some(Value::Object(scaling)) = &scaling {
            of_kind.extend(scaling.clone());
        }
        if let Some(theta) = theta.filter(|theta| !theta.is_null()) {
            of_kind.entry("rope_theta").or_insert(theta);
        }
    }
    rope::upgrade(fields, &default.rope_parameters, default.max_position_embeddings);
    Ok(())
}

fn validate(config: &ModernBertConfig) -> Result<()> {
    let heads = ("num_attention_heads", config.num_attention_heads);
    divides("modernbert", ("hidden_size", config.hidden_size), heads)?;
    check_layer_types("modernbert", &config.layer_types, config.num_hidden_layers, &[FULL, SLIDING])?;
    positive(
        "modernbert",
        &[
            ("vocab_size", config.vocab_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("local_attention", config.local_attention),
        ],
    )?;
    layers(config).map(drop)
}

architecture! {
    /// ModernBERT (Warner et al., 2024); `transformers.models.modernbert`.
    pub struct ModernBert(ModernBertConfig) = spec;
    super::Class;
    [FeatureExtraction, FillMask, TextClassification, TokenClassification, QuestionAnswering, MultipleChoice]
}

/// What each layer is, sees and rotates; the first takes the normalised embeddings as they are.
fn layers(config: &ModernBertConfig) -> Result<Vec<DecoderLayer>> {
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
    let attention = AttentionSpec { bias: Biases::all(config.attention_bias), ..AttentionSpec::even(hidden, heads) };
    let mlp =
        MlpSpec { bias: config.mlp_bias, ..MlpSpec::gated(hidden, config.intermediate_size, config.hidden_activation) };
    let layer = |(index, kind): (usize, &String)| {
        let layer = LayerSpec { mixer_norm: index > 0, ..LayerSpec::new(attention, mlp, norm(config)) };
        let settings = config.rope_parameters.of_type("modernbert", kind)?;
        let rope = settings.map(|it| it.spec("modernbert", hidden / heads, config.max_position_embeddings, false));
        let window = (kind == SLIDING).then_some(config.local_attention / 2 + 1);
        Ok(DecoderLayer { window, rope: rope.transpose()?, ..DecoderLayer::new(layer) })
    };
    config.layer_types.iter().enumerate().map(layer).collect()
}

fn norm(config: &ModernBertConfig) -> NormSpec {
    NormSpec { bias: config.norm_bias, ..NormSpec::layer(config.norm_eps) }
}

/// ModernBERT's encoder.
pub fn spec(config: &ModernBertConfig) -> Result<ModernSpec> {
    let (hidden, norm) = (config.hidden_size, norm(config));
    let body = DecoderSpec {
        causal: false,
        embedding_norm: Some(norm),
        labels: config.num_labels,
        pad_token: config.pad_token_id,
        frozen_padding: true,
        ..DecoderSpec::new(config.vocab_size, layers(config)?, norm, Names::new(names()))
    };
    let body = body.with_fused_attention("layers.*.attn.Wqkv").with_fused_gates("layers.*.mlp.Wi");
    let prediction = PredictionSpec {
        transform: TransformSpec {
            inputs: hidden,
            outputs: hidden,
            bias: config.classifier_bias,
            activation: config.classifier_activation,
            norm,
        },
        transforms: true,
        vocabulary: config.vocab_size,
        tied: config.tie_word_embeddings,
        bias: if config.decoder_bias { PredictionBias::Decoder } else { PredictionBias::None },
    };
    Ok(ModernSpec { body, prediction, pooling: config.classifier_pooling })
}

fn names() -> NameTable {
    NameTable::new().names(&[
        ("token", "embeddings.tok_embeddings"),
        ("embedding_norm", "embeddings.norm"),
        ("norm", "final_norm"),
        ("layers.*.attention.o", "layers.*.attn.Wo"),
        ("layers.*.attention_norm", "layers.*.attn_norm"),
        ("layers.*.mlp.down", "layers.*.mlp.Wo"),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn older_spellings_are_todays_parameters_by_type() {
        let older = json!({
            "num_hidden_layers": 3, "global_attn_every_n_layers": 2, "global_rope_theta": 7.0, "local_rope_theta": 5.0
        });
        let config = ModernBertConfig::from_json(&older).unwrap();
        assert_eq!(config.layer_types, [FULL, SLIDING, FULL]);
        assert_eq!(config.rope_parameters, RopeParameters::plain_by_type(&[(FULL, 7.0), (SLIDING, 5.0)]));
    }
}
