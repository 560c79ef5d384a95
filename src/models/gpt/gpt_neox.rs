use serde_json::{Map, Value};

use crate::Result;
use crate::config::divides;
use crate::models::decoder::{DecoderConfig, DecoderSpec, Names, decoder, dense};
use crate::nn::rope::RopeParameters;
use crate::nn::{Activation, Arrangement, Biases, MlpSpec, NormSpec};
use crate::weights::NameTable;

crate::config! {
    /// Configuration of [`GptNeox`].
    pub struct GptNeoxConfig("gpt_neox"): DecoderConfig {
        /// Added to variances.
        layer_norm_eps: f64 = 1e-5,
        /// Whether attention and feed-forward stand side by side.
        use_parallel_residual: bool = true,
        /// Whether the projections of attention have a bias.
        attention_bias: bool = true,
    }
    defaults: {
        vocab_size: 50432,
        hidden_size: 6144,
        num_hidden_layers: 44,
        num_attention_heads: 64,
        intermediate_size: 24576,
        hidden_act: Activation::Gelu,
        rope_parameters: RopeParameters::plain(10_000.0).partial(0.25),
    }
    without: ["num_key_value_heads", "head_dim", "rms_norm_eps"]
    ignored: ["hidden_dropout", "classifier_dropout", "is_decoder"]
    upgrade: upgrade;
    validate: |config: &GptNeoxConfig| {
        config.rope(true)?;
        divides("gpt_neox", ("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads))
    };
}

/// The names that this architecture alone had for the base of the frequencies and the rotated part of a head.
fn upgrade(fields: &mut Map<String, Value>, _: &GptNeoxConfig) -> Result<()> {
    for (old, new) in [("rotary_emb_base", "rope_theta"), ("rotary_pct", "partial_rotary_factor")] {
        // Python reads these two under no other name.
        fields.remove(new);
        if let Some(given) = fields.remove(old) {
            fields.insert(new.into(), given);
        }
    }
    Ok(())
}

decoder! {
    /// GPT-NeoX (Black et al., 2022): attention and feed-forward side by side with a norm each, a part of each head
    /// rotated; `transformers.models.gpt_neox`.
    pub struct GptNeox(GptNeoxConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// GPT-NeoX's decoder.
pub fn spec(config: &GptNeoxConfig) -> Result<DecoderSpec> {
    let norm = NormSpec::layer(config.layer_norm_eps);
    let names = Names {
        lm_head: &["lm_head", "embed_out"],
        ..Names::below("gpt_neox", names(config.num_attention_heads, config.head_dim()))
    };
    let spec =
        DecoderSpec { final_norm: Some(norm), frozen_padding: false, names, ..dense(config, config.rope(true)?) };
    let spec = spec
        .with_attention(|attention| attention.bias = Biases::all(config.attention_bias))
        .with_mlps(|mlp| *mlp = MlpSpec::plain(mlp.hidden, mlp.intermediate, mlp.activation));
    Ok(spec.with_layers(|_, layer| {
        layer.layer.norm = norm;
        if config.use_parallel_residual {
            layer.layer.arrangement = Arrangement::ParallelNorms;
        }
    }))
}

fn names(heads: i64, head_dim: i64) -> NameTable {
    NameTable::new()
        .names(&[
            ("token", "embed_in"),
            ("norm", "final_layer_norm"),
            ("layers.*.attention_norm", "layers.*.input_layernorm"),
            ("layers.*.mlp_norm", "layers.*.post_attention_layernorm"),
            ("layers.*.attention.o", "layers.*.attention.dense"),
            ("layers.*.mlp.up", "layers.*.mlp.dense_h_to_4h"),
            ("layers.*.mlp.down", "layers.*.mlp.dense_4h_to_h"),
        ])
        .interleaved(
            "layers.*.attention.query_key_value",
            heads,
            &[
                ("layers.*.attention.q", head_dim),
                ("layers.*.attention.k", head_dim),
                ("layers.*.attention.v", head_dim),
            ],
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn older_spellings_of_rotary_positions_are_read() {
        let shown = |given: Value| {
            let rope = GptNeoxConfig::from_json(&given).and_then(|config| config.rope(true)).unwrap();
            (rope.theta, rope.width)
        };
        assert_eq!(shown(json!({})), (10_000.0, 24));
        assert_eq!(shown(json!({"rotary_emb_base": 500, "rotary_pct": 0.5})), (500.0, 48));
        assert_eq!(shown(json!({"rope_parameters": {"rope_theta": 7.0}, "rotary_emb_base": 500})), (7.0, 24));
        assert_eq!(
            shown(json!({"rope_scaling": {"type": "linear", "factor": 2.0}, "rotary_pct": 1.0})),
            (10_000.0, 96)
        );
    }
}
