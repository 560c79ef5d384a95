use serde_json::{Map, Value};

use crate::models::decoder::{DecoderConfig, DecoderSpec, LmHead, decoder, dense, dense_with};
use crate::nn::rope::{RopeParameters, RopeScaling, RopeType};
use crate::nn::{Activation, Arrangement, Biases, NormSpec, QkNorm};
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Phi`].
    pub struct PhiConfig("phi"): DecoderConfig {
        /// Added to variances.
        layer_norm_eps: f64 = 1e-5,
        /// Whether queries and keys are normalised.
        qk_layernorm: bool = false,
    }
    defaults: {
        vocab_size: 51200, hidden_size: 2048, intermediate_size: 8192, num_hidden_layers: 24,
        hidden_act: Activation::GeluNew, rope_parameters: RopeParameters::plain(10_000.0).partial(0.5),
    }
    without: ["rms_norm_eps"]
    undeclared: ["head_dim"]
    ignored: ["resid_pdrop", "embd_pdrop"]
    validate: |config: &PhiConfig| config.rope(true).map(drop);
}

decoder! {
    /// Phi-1 and Phi-2 (Gunasekar et al., 2023), Llama with attention and a plain feed-forward side by side on one
    /// LayerNorm, biases everywhere, and rotations of a part of each head; `transformers.models.phi`.
    pub struct Phi(PhiConfig) = phi;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// Phi's decoder.
pub fn phi(config: &PhiConfig) -> Result<DecoderSpec> {
    let norm = NormSpec::layer(config.layer_norm_eps);
    let spec = dense_with(config, Some(config.rope(true)?), norm)
        .with_arrangement(Arrangement::Parallel)
        .with_names(&[
            ("layers.*.attention.o", "layers.*.self_attn.dense"),
            ("layers.*.attention.q_norm", "layers.*.self_attn.q_layernorm"),
            ("layers.*.attention.k_norm", "layers.*.self_attn.k_layernorm"),
            ("layers.*.mlp.up", "layers.*.mlp.fc1"),
            ("layers.*.mlp.down", "layers.*.mlp.fc2"),
            ("norm", "final_layernorm"),
        ])
        .with_mlps(|mlp| (mlp.gated, mlp.bias) = (false, true))
        .with_attention(|attention| {
            attention.bias = Biases::ALL;
            attention.qk_norm = config.qk_layernorm.then(|| QkNorm::heads(norm));
        });
    Ok(DecoderSpec { lm_head: LmHead { bias: true, ..spec.lm_head }, ..spec })
}

crate::config! {
    /// Configuration of [`Phi3`].
    pub struct Phi3Config("phi3"): DecoderConfig {
        /// Length of the context in pretraining.
        original_max_position_embeddings: i64 = 4096,
        /// How many tokens back a token sees, itself included; all where `None`.
        sliding_window: Option<i64> = None,
    }
    defaults: {
        vocab_size: 32064, hidden_size: 3072, intermediate_size: 8192, max_position_embeddings: 4096,
        rms_norm_eps: 1e-5, rope_parameters: RopeParameters::plain(10_000.0).partial(1.0), pad_token_id: Some(32000),
    }
    undeclared: ["head_dim"]
    ignored: ["resid_pdrop", "embd_pdrop"]
    upgrade: upgrade;
    validate: |config: &Phi3Config| {
        config.rope(true)?;
        match config.rope_parameters.same("phi3")?.rope_type {
            RopeType::Default | RopeType::Longrope => Ok(()),
            _ => Err(Error::config("phi3", "rope_parameters.rope_type", "must be default or longrope")),
        }
    };
}

/// The length of the pretraining stands beside the parameters of the rotation and counts before theirs, and these had
/// other names for LongRoPE.
fn upgrade(fields: &mut Map<String, Value>, default: &Phi3Config) -> Result<()> {
    let original = default.original_max_position_embeddings;
    fields.entry("original_max_position_embeddings").or_insert(original.into());
    for field in ["rope_scaling", "rope_parameters"] {
        let Some(Value::Object(rope)) = fields.get_mut(field) else { continue };
        for key in ["type", "rope_type"] {
            if rope.get(key).is_some_and(|kind| kind == "su" || kind == "yarn") {
                rope.insert(key.into(), "longrope".into());
            }
        }
    }
    Ok(())
}

decoder! {
    /// Phi-3 and Phi-4 (Abdin et al., 2024), Llama with fused projections, windows, and rotations for long contexts;
    /// `transformers.models.phi3`.
    pub struct Phi3(Phi3Config) = phi3;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// Phi-3's decoder.
pub fn phi3(config: &Phi3Config) -> Result<DecoderSpec> {
    let rope = config.rope(true)?;
    let renewed_beyond = match rope.scaling {
        RopeScaling::Long { original, .. } => Some(original),
        _ => None,
    };
    let spec = dense(config, rope)
        .with_fused_attention("layers.*.self_attn.qkv_proj")
        .with_fused_gates("layers.*.mlp.gate_up_proj")
        .with_layers(|_, layer| layer.window = config.sliding_window);
    Ok(DecoderSpec { renewed_beyond, ..spec })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn older_spellings_make_longrope() {
        let config = Phi3Config::from_json(&json!({
            "hidden_size": 32, "num_attention_heads": 2, "max_position_embeddings": 64, "partial_rotary_factor": 0.25,
            "original_max_position_embeddings": 8,
            "rope_scaling": {"type": "su", "short_factor": [1.0, 1.5], "long_factor": [2.0, 3.0]},
        }));
        let rope = config.unwrap().rope(true).unwrap();
        assert_eq!(rope.width, 4);
        let RopeScaling::Long { short, long, original, .. } = rope.scaling else { panic!("{:?}", rope.scaling) };
        assert_eq!((short, long, original), (vec![1.0, 1.5], vec![2.0, 3.0], 8));
    }
}
