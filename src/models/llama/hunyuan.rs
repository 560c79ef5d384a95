use super::base::{LlamaConfig, spec};
use crate::Result;
use crate::models::decoder::{DecoderSpec, decoder};
use crate::nn::rope::RopeSpec;
use crate::nn::{NormSpec, QkNorm};

crate::config! {
    /// Configuration of [`HunyuanV1Dense`].
    pub struct HunyuanV1DenseConfig("hunyuan_v1_dense"): LlamaConfig {}
    defaults: { vocab_size: 290943, rms_norm_eps: 1e-5, pad_token_id: Some(0) }
    without: ["mlp_bias"]
    ignored: ["eod_token_id"]
    validate: |config: &HunyuanV1DenseConfig| rope(config).map(drop);
}

/// The rotation, whose base `alpha` stretches.
fn rope(config: &LlamaConfig) -> Result<RopeSpec> {
    let settings = config.rope_parameters.same("hunyuan_v1_dense")?.stretched(config.head_dim());
    settings.spec("hunyuan_v1_dense", config.head_dim(), config.max_position_embeddings, false)
}

decoder! {
    /// Hunyuan (Tencent, 2025), Llama that normalises the queries and keys of each head after it has rotated them;
    /// `transformers.models.hunyuan_v1_dense`.
    pub struct HunyuanV1Dense(HunyuanV1DenseConfig) = hunyuan_v1_dense;
    [FeatureExtraction, TextGeneration, TextClassification]
}

/// Hunyuan's decoder.
pub fn hunyuan_v1_dense(config: &HunyuanV1DenseConfig) -> Result<DecoderSpec> {
    let rope = rope(config)?;
    let norm = NormSpec::rms(config.rms_norm_eps);
    let spec = spec(config)?
        .with_names(&[
            ("layers.*.attention.q_norm", "layers.*.self_attn.query_layernorm"),
            ("layers.*.attention.k_norm", "layers.*.self_attn.key_layernorm"),
        ])
        .with_layers(|_, layer| layer.rope = Some(rope.clone()));
    Ok(spec.with_attention(|attention| attention.qk_norm = Some(QkNorm { rotated: true, ..QkNorm::heads(norm) })))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn the_scaling_of_checkpoints_stretches_the_base() {
        let of = |head_dim: i64| {
            HunyuanV1DenseConfig::from_json(&json!({
                "head_dim": head_dim, "rope_theta": 10000.0,
                "rope_scaling": {"type": "dynamic", "alpha": 1000.0, "factor": 1.0, "beta_fast": 32, "mscale": 1.0},
            }))
        };
        let rope = rope(&of(128).unwrap()).unwrap();
        assert!((rope.theta / 11_158_839.925 - 1.0).abs() < 1e-6, "{}", rope.theta);
        assert!(of(2).is_err());
    }
}
