use serde_json::{Map, Value};

use crate::models::decoder::{DecoderConfig, DecoderSpec, decoder, dense};
use crate::nn::rope::{RopeParameters, RopeScaling, RopeType};
use crate::{Error, Result};

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
