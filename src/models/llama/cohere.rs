use serde_json::{Map, Value};

use crate::Result;
use crate::models::decoder::{
    DecoderConfig, DecoderSpec, FULL, SLIDING, check_layer_types, check_window, decoder, dense_with, fill_layer_types,
    take_pattern,
};
use crate::nn::rope::RopeParameters;
use crate::nn::{Arrangement, Biases, NormSpec, QkNorm, QkScope};

crate::config! {
    /// Configuration of [`Cohere`].
    pub struct CohereConfig("cohere"): DecoderConfig {
        /// Added to variances.
        layer_norm_eps: f64 = 1e-5,
        /// What logits over the vocabulary are multiplied by.
        logit_scale: f64 = 0.0625,
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// Whether the queries and keys of each head are normalised.
        use_qk_norm: bool = false,
    }
    defaults: {
        vocab_size: 256000, hidden_size: 8192, intermediate_size: 22528, num_hidden_layers: 40, num_attention_heads: 64,
        max_position_embeddings: 8192, tie_word_embeddings: true, pad_token_id: Some(0), rope_parameters: RopeParameters::plain(500_000.0),
    }
    without: ["rms_norm_eps"]
    undeclared: ["head_dim"]
    validate: |config: &CohereConfig| config.rope(false).map(drop);
}

decoder! {
    /// Command R (Cohere, 2024), Llama whose attention and feed-forward stand side by side, with LayerNorms without
    /// bias and rotations of neighbours; `transformers.models.cohere`.
    pub struct Cohere(CohereConfig) = cohere;
    [FeatureExtraction, TextGeneration]
}

/// The decoder of Command R.
pub fn cohere(config: &CohereConfig) -> Result<DecoderSpec> {
    let norm = NormSpec::layer(config.layer_norm_eps).unshifted();
    let qk_norm = config.use_qk_norm.then(|| QkNorm::new(norm, QkScope::EachHead));
    let spec = dense_with(config, Some(config.rope(false)?.interleaved()), norm)
        .with_arrangement(Arrangement::Parallel)
        .with_attention(|attention| {
            attention.bias = Biases::all(config.attention_bias);
            attention.qk_norm = qk_norm;
        });
    Ok(DecoderSpec { logit_scale: Some(config.logit_scale), ..spec })
}

crate::config! {
    /// Configuration of [`Cohere2`].
    pub struct Cohere2Config("cohere2"): CohereConfig {
        /// How many tokens back layers of type `sliding_attention` see, themselves included.
        sliding_window: Option<i64> = Some(4096),
        /// What each layer sees: `full_attention` or `sliding_attention`.
        layer_types: Vec<String> = Vec::new(),
    }
    defaults: { rope_parameters: RopeParameters::plain(10_000.0) }
    without: ["rms_norm_eps", "use_qk_norm"]
    undeclared: ["head_dim"]
    upgrade: |fields: &mut Map<String, Value>, default: &Cohere2Config| {
        let pattern = take_pattern("cohere2", fields, 4)?;
        let kind = |layer| if (layer + 1) % pattern == 0 { FULL } else { SLIDING };
        fill_layer_types(fields, default.num_hidden_layers, kind);
        Ok(())
    };
    validate: |config: &Cohere2Config| {
        check_layer_types("cohere2", &config.layer_types, config.num_hidden_layers, &[FULL, SLIDING])?;
        check_window("cohere2", &config.layer_types, config.sliding_window)
    };
}

decoder! {
    /// Command R7B and Command A (Cohere, 2025), Command R of which three layers of four see a window of tokens and the
    /// others rotate nothing; `transformers.models.cohere2`.
    pub struct Cohere2(Cohere2Config) = cohere2;
    [FeatureExtraction, TextGeneration]
}

/// The decoder of Command R7B.
pub fn cohere2(config: &Cohere2Config) -> Result<DecoderSpec> {
    let spec = cohere(config)?.with_windows(&config.layer_types, config.sliding_window);
    Ok(spec.with_layers(|_, layer| layer.rope = layer.rope.take().filter(|_| layer.window.is_some())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn the_older_pattern_makes_layers_that_rotate_nothing() {
        let config = json!({"num_hidden_layers": 3, "sliding_window_pattern": 2, "sliding_window": 7});
        let spec = cohere2(&Cohere2Config::from_json(&config).unwrap()).unwrap();
        let windows: Vec<_> = spec.layers.iter().map(|layer| (layer.window, layer.rope.is_some())).collect();
        assert_eq!(windows, [(Some(7), true), (None, false), (Some(7), true)]);
    }
}
