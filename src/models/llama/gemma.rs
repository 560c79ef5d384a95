use serde_json::{Map, Value, json};

use crate::config::divides;
use crate::models::decoder::{
    DecoderConfig, DecoderSpec, FULL, SLIDING, check_layer_types, check_window, decoder, dense_with, fill_layer_types,
    take_pattern,
};
use crate::nn::rope::{RopeParameters, RopeSpec};
use crate::nn::{Activation, Biases, NormSpec, Placement, QkNorm};
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Gemma`].
    pub struct GemmaConfig("gemma"): DecoderConfig {
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// Whether a token sees those after it too; not supported here.
        use_bidirectional_attention: Option<bool> = None,
    }
    defaults: {
        vocab_size: 256000, hidden_size: 3072, intermediate_size: 24576, num_hidden_layers: 28, num_attention_heads: 16,
        num_key_value_heads: Some(16), head_dim: Some(256), hidden_act: Activation::GeluNew,
        max_position_embeddings: 8192, tie_word_embeddings: true, pad_token_id: Some(0),
    }
    upgrade: |fields: &mut Map<String, Value>, _: &GemmaConfig| {
        // The first checkpoints say so and mean the approximation.
        if fields.get("hidden_act").is_some_and(|act| act == "gelu") {
            fields.insert("hidden_act".into(), "gelu_pytorch_tanh".into());
        }
        Ok(())
    };
    validate: |config: &GemmaConfig| {
        causal("gemma", config.use_bidirectional_attention)?;
        config.rope(false).map(drop)
    };
}

/// Refuses `use_bidirectional_attention`, which the reference obeys for inputs without padding only.
fn causal(model_type: &str, bidirectional: Option<bool>) -> Result<()> {
    match bidirectional {
        Some(true) => Err(Error::config(model_type, "use_bidirectional_attention", "must be false or null")),
        _ => Ok(()),
    }
}

decoder! {
    /// Gemma (Gemma Team, 2024), Llama that scales the vectors of its tokens and its norms by one more than their
    /// weights; `transformers.models.gemma`.
    pub struct Gemma(GemmaConfig) = gemma;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// Gemma's decoder.
pub fn gemma(config: &GemmaConfig) -> Result<DecoderSpec> {
    let spec = scaled(config, Some(config.rope(false)?));
    Ok(spec.with_attention(|attention| attention.bias = Biases::all(config.attention_bias)))
}

/// What all generations of Gemma share.
fn scaled(config: &DecoderConfig, rope: Option<RopeSpec>) -> DecoderSpec {
    DecoderSpec {
        embedding_scale: Some((config.hidden_size as f64).sqrt()),
        embedding_scale_rounded: true,
        ..dense_with(config, rope, NormSpec::rms(config.rms_norm_eps).one_plus())
    }
}

crate::config! {
    /// What the configurations of Gemma 2 and its heirs have in common.
    pub struct GemmaSandwichConfig("gemma2"): DecoderConfig {
        /// Activation of the feed-forward layers.
        hidden_activation: Activation = Activation::GeluNew,
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// Scores are divided by the root of this.
        query_pre_attn_scalar: i64 = 256,
        /// How many tokens back layers of type `sliding_attention` see, themselves included.
        sliding_window: Option<i64> = Some(4096),
        /// What each layer sees: `full_attention` or `sliding_attention`.
        layer_types: Vec<String> = Vec::new(),
        /// Bound that logits over the vocabulary approach.
        final_logit_softcapping: Option<f64> = None,
    }
    defaults: {
        vocab_size: 256000, hidden_size: 2304, intermediate_size: 9216, num_hidden_layers: 26, num_attention_heads: 8,
        num_key_value_heads: Some(4), head_dim: Some(256), max_position_embeddings: 8192, tie_word_embeddings: true,
        pad_token_id: Some(0),
    }
    without: ["hidden_act"]
    validate: |config: &GemmaSandwichConfig| {
        let hidden = ("hidden_size", config.hidden_size);
        divides("gemma2", hidden, ("num_attention_heads", config.num_attention_heads))?;
        crate::config::positive("gemma2", &[("query_pre_attn_scalar", config.query_pre_attn_scalar)])?;
        check_layer_types("gemma2", &config.layer_types, config.num_hidden_layers, &[FULL, SLIDING])?;
        check_window("gemma2", &config.layer_types, config.sliding_window)
    };
}

/// What Gemma 2 and its heirs share, without rotations: norms before and after each sublayer, and windows.
fn sandwich(config: &GemmaSandwichConfig) -> DecoderSpec {
    let spec = scaled(config, None)
        .with_placement(Placement::Sandwich)
        .with_names(&[
            ("layers.*.attention_post_norm", "layers.*.post_attention_layernorm"),
            ("layers.*.mlp_norm", "layers.*.pre_feedforward_layernorm"),
            ("layers.*.mlp_post_norm", "layers.*.post_feedforward_layernorm"),
        ])
        .with_windows(&config.layer_types, config.sliding_window)
        .with_mlps(|mlp| mlp.activation = config.hidden_activation)
        .with_attention(|attention| {
            attention.bias = Biases::all(config.attention_bias);
            attention.scale = (config.query_pre_attn_scalar as f64).powf(-0.5);
        });
    DecoderSpec { logit_softcap: config.final_logit_softcapping, ..spec }
}

crate::config! {
    /// Configuration of [`Gemma2`].
    pub struct Gemma2Config("gemma2"): GemmaSandwichConfig {
        /// Bound that scores of attention approach.
        attn_logit_softcapping: Option<f64> = Some(50.0),
        /// Whether a token sees those after it too; not supported here.
        use_bidirectional_attention: Option<bool> = None,
    }
    defaults: { final_logit_softcapping: Some(30.0) }
    upgrade: |fields: &mut Map<String, Value>, default: &Gemma2Config| {
        fill_layer_types(fields, default.num_hidden_layers, |layer| if layer % 2 == 0 { SLIDING } else { FULL });
        Ok(())
    };
    validate: |config: &Gemma2Config| {
        causal("gemma2", config.use_bidirectional_attention)?;
        config.rope(false).map(drop)
    };
}

decoder! {
    /// Gemma 2 (Gemma Team, 2024), Gemma with norms after the sublayers too, windows on every other layer, and bounded
    /// scores and logits; `transformers.models.gemma2`.
    pub struct Gemma2(Gemma2Config) = gemma2;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// Gemma 2's decoder.
pub fn gemma2(config: &Gemma2Config) -> Result<DecoderSpec> {
    let rope = config.rope(false)?;
    let spec = sandwich(config).with_layers(|_, layer| layer.rope = Some(rope.clone()));
    Ok(spec.with_attention(|attention| {
        attention.softcap = config.attn_logit_softcapping;
        attention.eager = true;
    }))
}

crate::config! {
    /// Configuration of [`Gemma3Text`].
    pub struct Gemma3TextConfig("gemma3_text"): GemmaSandwichConfig {
        /// Whether a token sees those after it too: half of the window on each side then, where there is one.
        use_bidirectional_attention: Option<bool> = Some(false),
    }
    defaults: {
        vocab_size: 262208, max_position_embeddings: 131072,
        rope_parameters: RopeParameters::plain_by_type(&[(FULL, 1e6), (SLIDING, 1e4)]),
    }
    ignored: ["attn_logit_softcapping", "_sliding_window_pattern"]
    upgrade: upgrade_gemma3;
    validate: |config: &Gemma3TextConfig| {
        config.layer_types.iter().try_for_each(|kind| config.rope_of(kind, false).map(drop))
    };
}

/// Every sixth layer sees all tokens unless `sliding_window_pattern` says another number, and `rope_local_base_freq` is
/// the base of the others.
fn upgrade_gemma3(fields: &mut Map<String, Value>, default: &Gemma3TextConfig) -> Result<()> {
    let pattern = take_pattern("gemma3_text", fields, 6)?;
    let kind = |layer| if (layer + 1) % pattern == 0 { FULL } else { SLIDING };
    fill_layer_types(fields, default.num_hidden_layers, kind);
    if let Some(theta) = fields.remove("rope_local_base_freq").filter(|theta| !theta.is_null()) {
        let rope = fields.entry("rope_parameters").or_insert(Value::Null);
        if rope.is_null() {
            *rope = json!({});
        }
        // Whatever is no table is left for the parser to refuse.
        if let Value::Object(rope) = rope {
            let sliding = rope.entry(SLIDING).or_insert(Value::Null);
            if sliding.is_null() {
                *sliding = json!({});
            }
            if let Value::Object(sliding) = sliding {
                sliding.entry("rope_theta").or_insert(theta);
            }
        }
    }
    Ok(())
}

decoder! {
    /// The text model of Gemma 3 (Gemma Team, 2025), Gemma 2 that normalises queries and keys instead of bounding
    /// scores, with a rotation for each type of layer; `transformers.models.gemma3`.
    pub struct Gemma3Text(Gemma3TextConfig) = gemma3_text;
    [FeatureExtraction, TextGeneration, TextClassification]
}

/// The decoder of Gemma 3.
pub fn gemma3_text(config: &Gemma3TextConfig) -> Result<DecoderSpec> {
    let qk_norm = Some(QkNorm::heads(NormSpec::rms(config.rms_norm_eps).one_plus()));
    let spec = sandwich(config)
        .with_ropes(&config.layer_types, |kind| config.rope_of(kind, false))?
        .with_attention(|attention| attention.qk_norm = qk_norm);
    if config.use_bidirectional_attention != Some(true) {
        return Ok(spec);
    }
    let window = config.sliding_window.map(|window| window / 2 + 1);
    Ok(DecoderSpec { causal: false, ..spec.with_windows(&config.layer_types, window) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::nn::rope::RopeScaling;

    #[test]
    fn older_spellings_make_windows_and_rotations() {
        let config = Gemma3TextConfig::from_json(&json!({
            "num_hidden_layers": 4, "sliding_window_pattern": 3, "rope_theta": 5e5, "rope_local_base_freq": 700.0,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        }));
        let config = config.unwrap();
        assert_eq!(config.layer_types, [SLIDING, SLIDING, FULL, SLIDING]);
        let rope = |kind| config.rope_of(kind, false).unwrap().unwrap();
        assert_eq!((rope(FULL).theta, rope(FULL).scaling), (5e5, RopeScaling::Linear { factor: 8.0 }));
        assert_eq!((rope(SLIDING).theta, rope(SLIDING).scaling), (700.0, RopeScaling::None));
    }

    #[test]
    fn parameters_for_all_layers_and_for_types_of_them_are_not_mixed_up() {
        let flat = Gemma3TextConfig::from_json(&json!({"rope_parameters": {"rope_theta": 10.0}}));
        let nested = Gemma2Config::from_json(&json!({"rope_parameters": {"full_attention": {"rope_theta": 10.0}}}));
        for error in [flat.unwrap_err(), nested.unwrap_err()] {
            assert!(matches!(&error, Error::Config { field, .. } if field == "rope_parameters"), "{error}");
        }
    }

    #[test]
    fn the_first_checkpoints_mean_the_approximation() {
        let config = GemmaConfig::from_json(&json!({"hidden_act": "gelu"})).unwrap();
        assert_eq!(config.hidden_act, Activation::GeluNew);
    }
}
