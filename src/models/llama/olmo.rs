use crate::Result;
use crate::models::decoder::{DecoderConfig, DecoderSpec, decoder, dense_with};
use crate::nn::{Biases, NormSpec, Placement, QkNorm, QkScope};

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
    let norm = NormSpec::rms(config.rms_norm_eps).wide();
    let spec = dense_with(config, Some(config.rope(false)?), norm)
        .with_placement(Placement::Output)
        .with_names(&[
            ("layers.*.attention_norm", "layers.*.post_attention_layernorm"),
            ("layers.*.mlp_norm", "layers.*.post_feedforward_layernorm"),
        ])
        .with_attention(|attention| {
            attention.bias = Biases::all(config.attention_bias);
            attention.qk_norm = Some(QkNorm::new(norm, QkScope::Projection));
        });
    Ok(spec)
}
