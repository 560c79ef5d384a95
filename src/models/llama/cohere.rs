use crate::Result;
use crate::models::decoder::{DecoderConfig, DecoderSpec, decoder, dense_with};
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
