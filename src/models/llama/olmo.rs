use serde_json::{Map, Value};

use crate::models::decoder::{
    DecoderConfig, DecoderSpec, FULL, SLIDING, check_layer_types, check_window, decoder, dense_with, fill_layer_types,
};
use crate::nn::rope::{RopeParameters, RopeSpec};
use crate::nn::{Biases, NormSpec, Placement, QkNorm, QkScope};
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Olmo`].
    pub struct OlmoConfig("olmo"): DecoderConfig {
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// Bound of the elements of queries, keys and values on either side of 0.
        clip_qkv: Option<f64> = None,
    }
    defaults: { vocab_size: 50304, pad_token_id: Some(1) }
    without: ["rms_norm_eps"]
    undeclared: ["head_dim"]
    validate: |config: &OlmoConfig| {
        if config.clip_qkv.is_some_and(|bound| bound <= 0.0) {
            return Err(Error::config("olmo", "clip_qkv", "must be positive or null"));
        }
        config.rope(false).map(drop)
    };
}

decoder! {
    /// OLMo (Groeneveld et al., 2024), Llama with LayerNorms without parameters that may bound queries, keys and values;
    /// `transformers.models.olmo`.
    pub struct Olmo(OlmoConfig) = olmo;
    [FeatureExtraction, TextGeneration, TextClassification]
}

/// OLMo's decoder.
pub fn olmo(config: &OlmoConfig) -> Result<DecoderSpec> {
    let spec = dense_with(config, Some(config.rope(false)?), NormSpec::layer(1e-5).bare());
    Ok(spec.with_attention(|attention| {
        attention.bias = Biases::all(config.attention_bias);
        attention.clip = config.clip_qkv;
    }))
}

crate::config! {
    /// Configuration of [`Olmo2`].
    pub struct Olmo2Config("olmo2"): DecoderConfig {
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
    }
    defaults: { vocab_size: 50304, rms_norm_eps: 1e-5, pad_token_id: Some(1) }
    undeclared: ["head_dim"]
    validate: |config: &Olmo2Config| config.rope(false).map(drop);
}

decoder! {
    /// OLMo 2 (OLMo Team, 2024), Llama that normalises what comes out of the sublayers instead of what goes in, and all
    /// heads of queries and keys together; `transformers.models.olmo2`.
    pub struct Olmo2(Olmo2Config) = olmo2;
    [FeatureExtraction, TextGeneration, TextClassification]
}

/// The decoder of OLMo 2.
pub fn olmo2(config: &Olmo2Config) -> Result<DecoderSpec> {
    Ok(behind(config, Some(config.rope(false)?), config.attention_bias))
}

/// What OLMo 2 and 3 share, with a `bias` of all projections of attention or none.
fn behind(config: &DecoderConfig, rope: Option<RopeSpec>, bias: bool) -> DecoderSpec {
    let norm = NormSpec::rms(config.rms_norm_eps).wide();
    dense_with(config, rope, norm).with_placement(Placement::Output).with_names(&OUTPUT_NORMS).with_attention(
        |attention| {
            attention.bias = Biases::all(bias);
            attention.qk_norm = Some(QkNorm::new(norm, QkScope::Projection));
        },
    )
}

/// The names of norms that stand behind their sublayers.
pub(super) const OUTPUT_NORMS: [(&str, &str); 2] = [
    ("layers.*.attention_norm", "layers.*.post_attention_layernorm"),
    ("layers.*.mlp_norm", "layers.*.post_feedforward_layernorm"),
];

crate::config! {
    /// Configuration of [`Olmo3`].
    pub struct Olmo3Config("olmo3"): DecoderConfig {
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// How many tokens back layers of type `sliding_attention` see, themselves included.
        sliding_window: Option<i64> = Some(4096),
        /// What each layer sees: `full_attention` or `sliding_attention`.
        layer_types: Vec<String> = Vec::new(),
    }
    defaults: {
        vocab_size: 50304, rms_norm_eps: 1e-5, pad_token_id: Some(1),
        rope_parameters: RopeParameters::plain_by_type(&[(FULL, 5e5), (SLIDING, 5e5)]),
    }
    undeclared: ["head_dim"]
    upgrade: |fields: &mut Map<String, Value>, default: &Olmo3Config| {
        fill_layer_types(fields, default.num_hidden_layers, |layer| if (layer + 1) % 4 == 0 { FULL } else { SLIDING });
        Ok(())
    };
    validate: |config: &Olmo3Config| {
        check_layer_types("olmo3", &config.layer_types, config.num_hidden_layers, &[FULL, SLIDING])?;
        check_window("olmo3", &config.layer_types, config.sliding_window)?;
        config.layer_types.iter().try_for_each(|kind| config.rope_of(kind, false).map(drop))
    };
}

decoder! {
    /// OLMo 3 (OLMo Team, 2025), OLMo 2 of which three layers of four see a window of tokens, with a rotation for each
    /// type of layer; `transformers.models.olmo3`.
    pub struct Olmo3(Olmo3Config) = olmo3;
    [FeatureExtraction, TextGeneration, TextClassification]
}

/// The decoder of OLMo 3.
pub fn olmo3(config: &Olmo3Config) -> Result<DecoderSpec> {
    behind(config, None, config.attention_bias)
        .with_windows(&config.layer_types, config.sliding_window)
        .with_ropes(&config.layer_types, |kind| config.rope_of(kind, false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelConfig;
    use crate::nn::rope::RopeScaling;

    #[test]
    fn older_spellings_speak_of_the_layers_that_see_all_tokens() {
        let config = json!({"rope_theta": 700.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}});
        let config = Olmo3Config::from_json(&config).unwrap();
        let rope = |kind| config.rope_of(kind, false).unwrap().unwrap();
        assert_eq!((rope(FULL).theta, rope(FULL).scaling), (700.0, RopeScaling::Linear { factor: 8.0 }));
        assert_eq!((rope(SLIDING).theta, rope(SLIDING).scaling), (5e5, RopeScaling::None));
    }
}
