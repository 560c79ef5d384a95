use serde_json::{Map, Value};

use crate::Result;
use crate::models::decoder::{
    DecoderConfig, DecoderSpec, FULL, SLIDING, check_layer_types, decoder, dense, fill_layer_types,
};
use crate::nn::{Biases, NormSpec, QkNorm};

crate::config! {
    /// Configuration of [`Qwen2`].
    pub struct Qwen2Config("qwen2"): DecoderConfig {
        /// Whether layers may see a window of tokens only.
        use_sliding_window: bool = false,
        /// How many tokens back such layers see, themselves included.
        sliding_window: Option<i64> = None,
        /// The first layer that sees a window, where `layer_types` does not say.
        max_window_layers: i64 = 28,
        /// What each layer sees: `full_attention` or `sliding_attention`.
        layer_types: Vec<String> = Vec::new(),
    }
    defaults: { vocab_size: 151936, intermediate_size: 22016, num_key_value_heads: Some(32), max_position_embeddings: 32768 }
    undeclared: ["head_dim"]
    upgrade: upgrade;
    validate: |config: &Qwen2Config| {
        config.rope(false)?;
        check_layer_types("qwen2", &config.layer_types, config.num_hidden_layers, &[FULL, SLIDING])
    };
}

/// Without `use_sliding_window` there is no window, whatever `sliding_window` says.
fn upgrade(fields: &mut Map<String, Value>, default: &Qwen2Config) -> Result<()> {
    match fields.get("use_sliding_window").and_then(Value::as_bool).unwrap_or(default.use_sliding_window) {
        true => drop(fields.entry("sliding_window").or_insert(4096.into())),
        false => drop(fields.insert("sliding_window".into(), Value::Null)),
    }
    let windowed = !fields["sliding_window"].is_null();
    let first = fields.get("max_window_layers").and_then(Value::as_i64).unwrap_or(default.max_window_layers);
    let kind = |layer| if windowed && layer >= first { SLIDING } else { FULL };
    fill_layer_types(fields, default.num_hidden_layers, kind);
    Ok(())
}

decoder! {
    /// Qwen2 (Yang et al., 2024), Llama whose queries, keys and values have biases; `transformers.models.qwen2`.
    pub struct Qwen2(Qwen2Config) = qwen2;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// Qwen2's decoder.
pub fn qwen2(config: &Qwen2Config) -> Result<DecoderSpec> {
    let spec = dense(config, config.rope(false)?).with_windows(&config.layer_types, config.sliding_window);
    Ok(spec.with_attention(|attention| attention.bias = Biases { o: false, ..Biases::ALL }))
}

crate::config! {
    /// Configuration of [`Qwen3`].
    pub struct Qwen3Config("qwen3"): Qwen2Config {
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
    }
    defaults: { head_dim: Some(128) }
}

decoder! {
    /// Qwen3 (Yang et al., 2025), Llama that normalises the queries and keys of each head; `transformers.models.qwen3`.
    pub struct Qwen3(Qwen3Config) = qwen3;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// Qwen3's decoder.
pub fn qwen3(config: &Qwen3Config) -> Result<DecoderSpec> {
    let qk_norm = Some(QkNorm::heads(NormSpec::rms(config.rms_norm_eps)));
    Ok(qwen2(config)?.with_attention(|attention| {
        attention.qk_norm = qk_norm;
        attention.bias = Biases::all(config.attention_bias);
    }))
}
