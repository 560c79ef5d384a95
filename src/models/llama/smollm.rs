use serde_json::{Map, Value};

use crate::models::decoder::{
    DecoderConfig, DecoderSpec, FULL, SLIDING, check_layer_types, decoder, dense, fill_layer_types,
};
use crate::nn::Biases;
use crate::nn::rope::RopeParameters;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`SmolLm3`].
    pub struct SmolLm3Config("smollm3"): DecoderConfig {
        /// Whether layers without rotation may see a window of tokens only.
        use_sliding_window: bool = false,
        /// How many tokens back such layers see, themselves included.
        sliding_window: Option<i64> = None,
        /// For each layer 1 if it rotates queries and keys, 0 if not.
        no_rope_layers: Vec<i64> = Vec::new(),
        /// Every how many layers one does not, where `no_rope_layers` does not say.
        no_rope_layer_interval: i64 = 4,
        /// What each layer sees: `full_attention` or `sliding_attention`.
        layer_types: Vec<String> = Vec::new(),
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// Whether the feed-forward layers have a bias.
        mlp_bias: bool = false,
    }
    defaults: {
        vocab_size: 128256, hidden_size: 2048, num_hidden_layers: 36, num_attention_heads: 16,
        num_key_value_heads: Some(4), max_position_embeddings: 32768, pad_token_id: Some(128004),
        rope_parameters: RopeParameters::plain(2e6), tie_word_embeddings: true,
    }
    undeclared: ["head_dim"]
    upgrade: upgrade;
    validate: |config: &SmolLm3Config| {
        check_layer_types("smollm3", &config.layer_types, config.num_hidden_layers, &[FULL, SLIDING])?;
        if config.no_rope_layers.len() as i64 != config.num_hidden_layers {
            let message = format!("has {} layers of {}", config.no_rope_layers.len(), config.num_hidden_layers);
            return Err(Error::config("smollm3", "no_rope_layers", message));
        }
        config.rope(false).map(drop)
    };
}

/// Layers that rotate nothing come at intervals, and are those with a window.
fn upgrade(fields: &mut Map<String, Value>, default: &SmolLm3Config) -> Result<()> {
    let integer = |field: &str, default| fields.get(field).and_then(Value::as_i64).unwrap_or(default);
    let interval = integer("no_rope_layer_interval", default.no_rope_layer_interval).max(1);
    let layers = integer("num_hidden_layers", default.num_hidden_layers).clamp(0, 10_000);
    if fields.get("no_rope_layers").is_none_or(Value::is_null) {
        let rotates = (1..=layers).map(|layer| i64::from(layer % interval != 0));
        fields.insert("no_rope_layers".into(), rotates.collect());
    }
    let windowed = fields.get("use_sliding_window").and_then(Value::as_bool).unwrap_or(false)
        && fields.get("sliding_window").is_some_and(|window| !window.is_null());
    let still: Vec<bool> = match fields.get("no_rope_layers") {
        Some(Value::Array(layers)) => layers.iter().map(|rotates| *rotates == 0).collect(),
        _ => Vec::new(),
    };
    let slides = |layer: i64| windowed && still.get(layer as usize).copied().unwrap_or(false);
    fill_layer_types(fields, layers, |layer| if slides(layer) { SLIDING } else { FULL });
    Ok(())
}

decoder! {
    /// SmolLM3 (Bakouch et al., 2025), Llama of which every fourth layer rotates nothing; `transformers.models.smollm3`.
    pub struct SmolLm3(SmolLm3Config) = smollm3;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// SmolLM3's decoder.
pub fn smollm3(config: &SmolLm3Config) -> Result<DecoderSpec> {
    let spec = dense(config, config.rope(false)?)
        .with_windows(&config.layer_types, config.sliding_window.filter(|_| config.use_sliding_window))
        .with_mlps(|mlp| mlp.bias = config.mlp_bias)
        .with_attention(|attention| attention.bias = Biases::all(config.attention_bias));
    Ok(spec.with_layers(|index, layer| {
        if config.no_rope_layers[index] == 0 {
            layer.rope = None;
        }
    }))
}
