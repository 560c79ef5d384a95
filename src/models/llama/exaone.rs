use serde_json::{Map, Value};

use super::olmo::OUTPUT_NORMS;
use crate::Result;
use crate::models::decoder::{
    DecoderConfig, DecoderSpec, FULL, SLIDING, check_layer_types, check_window, decoder, dense, fill_layer_types,
    take_pattern,
};
use crate::nn::{NormSpec, Placement, QkNorm};

crate::config! {
    /// Configuration of [`Exaone4`].
    pub struct Exaone4Config("exaone4"): DecoderConfig {
        /// How many tokens back layers of type `sliding_attention` see, themselves included; where `None`, all layers
        /// rotate queries and keys.
        sliding_window: Option<i64> = Some(4096),
        /// What each layer sees: `full_attention` or `sliding_attention`.
        layer_types: Vec<String> = Vec::new(),
    }
    defaults: {
        vocab_size: 102400, intermediate_size: 16384, num_key_value_heads: Some(32), rms_norm_eps: 1e-5,
    }
    undeclared: ["head_dim"]
    ignored: ["sliding_window_pattern"]
    upgrade: |fields: &mut Map<String, Value>, default: &Exaone4Config| {
        let windowed = fields.get("sliding_window").is_none_or(|window| !window.is_null());
        let pattern = match windowed {
            true => take_pattern("exaone4", fields, 4)?,
            false => 1,
        };
        let kind = |layer| if (layer + 1) % pattern == 0 { FULL } else { SLIDING };
        fill_layer_types(fields, default.num_hidden_layers, kind);
        Ok(())
    };
    validate: |config: &Exaone4Config| {
        check_layer_types("exaone4", &config.layer_types, config.num_hidden_layers, &[FULL, SLIDING])?;
        check_window("exaone4", &config.layer_types, config.sliding_window)?;
        config.rope(false).map(drop)
    };
}

decoder! {
    /// EXAONE 4.0 (LG AI Research, 2025), Llama that normalises what comes out of the sublayers and the queries and keys
    /// of each head; layers that see all tokens rotate nothing where others see a window; `transformers.models.exaone4`.
    pub struct Exaone4(Exaone4Config) = exaone4;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// The decoder of EXAONE 4.0.
pub fn exaone4(config: &Exaone4Config) -> Result<DecoderSpec> {
    let qk_norm = Some(QkNorm::heads(NormSpec::rms(config.rms_norm_eps)));
    let spec = dense(config, config.rope(false)?)
        .with_placement(Placement::Output)
        .with_names(&OUTPUT_NORMS)
        .with_windows(&config.layer_types, config.sliding_window)
        .with_attention(|attention| attention.qk_norm = qk_norm);
    Ok(spec.with_layers(|_, layer| {
        if config.sliding_window.is_some() && layer.window.is_none() {
            layer.rope = None;
        }
    }))
}
