use serde_json::{Map, Value};

use crate::config::positive;
use crate::models::decoder::{
    DecoderConfig, DecoderSpec, FULL, Names, check_layer_types, decoder, dense_with, fill_layer_types,
};
use crate::nn::rope::RopeParameters;
use crate::nn::{MixerSpec, NormSpec, QkNorm, ShortConvSpec};
use crate::weights::NameTable;
use crate::{Error, Result};

/// A layer with a short convolution, as `layer_types` calls it.
const CONV: &str = "conv";

crate::config! {
    /// Configuration of [`Lfm2`].
    pub struct Lfm2Config("lfm2"): DecoderConfig {
        /// Whether short convolutions and their projections have a bias.
        conv_bias: bool = false,
        /// Tokens that a short convolution sees.
        conv_l_cache: i64 = 3,
        /// Whether feed-forward layers are two thirds of `intermediate_size` wide, times
        /// `block_ffn_dim_multiplier`, rounded up to a multiple of `block_multiple_of`.
        block_auto_adjust_ff_dim: bool = true,
        /// See `block_auto_adjust_ff_dim`.
        block_ffn_dim_multiplier: f64 = 1.0,
        /// See `block_auto_adjust_ff_dim`.
        block_multiple_of: i64 = 256,
        /// Added to mean squares.
        norm_eps: f64 = 1e-5,
        /// What mixes the tokens of each layer: `full_attention` or `conv`.
        layer_types: Vec<String> = Vec::new(),
    }
    defaults: {
        vocab_size: 65536, hidden_size: 2560, intermediate_size: 12288, num_key_value_heads: Some(8),
        max_position_embeddings: 128_000, rope_parameters: RopeParameters::plain(1_000_000.0),
        tie_word_embeddings: true, pad_token_id: Some(0)
    }
    without: ["hidden_act", "rms_norm_eps"]
    undeclared: ["head_dim"]
    // Read by `upgrade`.
    ignored: ["full_attn_idxs"]
    aliases: [("conv_L_cache", "conv_l_cache")]
    upgrade: upgrade;
    validate: validate;
}

/// Older spellings, which Python puts before today's, and the layers with attention by number.
fn upgrade(fields: &mut Map<String, Value>, default: &Lfm2Config) -> Result<()> {
    for (older, field) in [("tie_embedding", "tie_word_embeddings"), ("block_ff_dim", "intermediate_size")] {
        if let Some(value) = fields.remove(older) {
            fields.insert(field.into(), value);
        }
    }
    let attending = match fields.remove("full_attn_idxs") {
        None | Some(Value::Null) => None,
        Some(list) => Some(serde_json::from_value::<Vec<i64>>(list).map_err(|error| {
            Error::config("lfm2", "full_attn_idxs", format!("is no list of numbers of layers: {error}"))
        })?),
    };
    fill_layer_types(fields, default.num_hidden_layers, |layer| match &attending {
        Some(attending) if !attending.contains(&layer) => CONV,
        _ => FULL,
    });
    Ok(())
}

fn validate(config: &Lfm2Config) -> Result<()> {
    config.rope(false)?;
    positive("lfm2", &[("conv_L_cache", config.conv_l_cache), ("block_multiple_of", config.block_multiple_of)])?;
    positive("lfm2", &[("block_ffn_dim_multiplier", feed_forward(config))])?;
    check_layer_types("lfm2", &config.layer_types, config.num_hidden_layers, &[FULL, CONV])
}

/// Width of the feed-forward layers.
fn feed_forward(config: &Lfm2Config) -> i64 {
    if !config.block_auto_adjust_ff_dim {
        return config.intermediate_size;
    }
    let width = (config.block_ffn_dim_multiplier * (2 * config.intermediate_size / 3) as f64) as i64;
    let blocks = width / config.block_multiple_of + i64::from(width % config.block_multiple_of > 0);
    blocks.saturating_mul(config.block_multiple_of)
}

decoder! {
    /// LFM2 (Liquid AI, 2025): short gated convolutions, and attention in some layers; `transformers.models.lfm2`.
    pub struct Lfm2(Lfm2Config) = spec;
    [FeatureExtraction, TextGeneration]
}

/// LFM2's decoder.
pub fn spec(config: &Lfm2Config) -> Result<DecoderSpec> {
    let norm = NormSpec::rms(config.norm_eps);
    let conv = ShortConvSpec { hidden: config.hidden_size, kernel: config.conv_l_cache, bias: config.conv_bias };
    let spec = dense_with(config, Some(config.rope(false)?), norm)
        .with_attention(|attention| attention.qk_norm = Some(QkNorm::heads(norm)))
        .with_mlps(|mlp| mlp.intermediate = feed_forward(config))
        .with_layers(|index, layer| {
            if config.layer_types.get(index).is_some_and(|kind| kind == CONV) {
                layer.layer.mixer = MixerSpec::ShortConv(conv);
            }
        });
    Ok(DecoderSpec { names: Names::new(names()), ..spec })
}

fn names() -> NameTable {
    crate::models::decoder::names().names(&[
        ("norm", "embedding_norm"),
        ("layers.*.attention.o", "layers.*.self_attn.out_proj"),
        ("layers.*.attention.q_norm", "layers.*.self_attn.q_layernorm"),
        ("layers.*.attention.k_norm", "layers.*.self_attn.k_layernorm"),
        ("layers.*.attention_norm", "layers.*.operator_norm"),
        ("layers.*.mlp_norm", "layers.*.ffn_norm"),
        ("layers.*.mlp.gate", "layers.*.feed_forward.w1"),
        ("layers.*.mlp.up", "layers.*.feed_forward.w3"),
        ("layers.*.mlp.down", "layers.*.feed_forward.w2"),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn older_spellings_come_first() {
        let json = json!({
            "num_hidden_layers": 3, "full_attn_idxs": [1], "block_ff_dim": 768, "intermediate_size": 5, "tie_embedding": false
        });
        let config = Lfm2Config::from_json(&json).unwrap();
        assert_eq!(config.layer_types, [CONV, FULL, CONV]);
        assert_eq!((config.intermediate_size, config.tie_word_embeddings), (768, false));
        assert_eq!(feed_forward(&config), 512);
    }

    #[test]
    fn sizes_out_of_this_world_are_refused() {
        let wrong =
            [("block_multiple_of", json!(0)), ("block_ffn_dim_multiplier", json!(1e300)), ("conv_L_cache", json!(0))];
        for (field, value) in wrong {
            let error = Lfm2Config::from_json(&json!({ field: value })).unwrap_err();
            assert!(matches!(&error, Error::Config { field: named, .. } if named == field), "{error}");
        }
    }
}
