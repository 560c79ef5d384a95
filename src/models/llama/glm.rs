use crate::Result;
use crate::models::decoder::{DecoderConfig, DecoderSpec, decoder, dense};
use crate::nn::rope::RopeParameters;
use crate::nn::{Biases, Placement};

crate::config! {
    /// Configuration of [`Glm`].
    pub struct GlmConfig("glm"): DecoderConfig {
        /// Whether the projections to queries, keys and values have a bias.
        attention_bias: bool = true,
    }
    defaults: {
        vocab_size: 151552, intermediate_size: 13696, num_hidden_layers: 40, num_key_value_heads: Some(2),
        head_dim: Some(128), max_position_embeddings: 131072, rms_norm_eps: 0.00000015625,
        rope_parameters: RopeParameters::plain(10_000.0).partial(0.5), pad_token_id: Some(151329),
    }
    validate: |config: &GlmConfig| config.rope(true).map(drop);
}

decoder! {
    /// GLM-4 (Team GLM, 2024), Llama with fused gates that rotates neighbours in a part of each head;
    /// `transformers.models.glm`.
    pub struct Glm(GlmConfig) = glm;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// GLM's decoder.
pub fn glm(config: &GlmConfig) -> Result<DecoderSpec> {
    let spec = dense(config, config.rope(true)?.interleaved())
        .with_fused_gates("layers.*.mlp.gate_up_proj")
        .with_attention(|attention| attention.bias = Biases { o: false, ..Biases::all(config.attention_bias) });
    Ok(spec)
}

crate::config! {
    /// Configuration of [`Glm4`].
    pub struct Glm4Config("glm4"): GlmConfig {}
}

decoder! {
    /// GLM-4 (Team GLM, 2024; the checkpoints of 2025), GLM with norms after the sublayers too;
    /// `transformers.models.glm4`.
    pub struct Glm4(Glm4Config) = glm4;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// GLM-4's decoder.
pub fn glm4(config: &Glm4Config) -> Result<DecoderSpec> {
    let spec = glm(config)?.with_placement(Placement::Sandwich).with_names(&[
        ("layers.*.attention_post_norm", "layers.*.post_self_attn_layernorm"),
        ("layers.*.mlp_post_norm", "layers.*.post_mlp_layernorm"),
    ]);
    Ok(spec)
}
