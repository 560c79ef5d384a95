use serde_json::{Map, Value, json};

use crate::Result;
use crate::config::{divides, positive};
use crate::models::decoder::{
    DecoderConfig, DecoderSpec, FULL, Names, check_layer_types, decoder, dense_with, fill_layer_types, names,
};
use crate::models::moe::{check_choice, expert_names};
use crate::nn::moe::{RouterSpec, Score, SharedSpec};
use crate::nn::rope::RopeParameters;
use crate::nn::{Biases, Gate, GatedDeltaSpec, MixerSpec, MlpSpec, MoeSpec, NormSpec, QkNorm};
use crate::weights::NameTable;

/// A layer with the gated delta rule, as `layer_types` calls it.
const LINEAR: &str = "linear_attention";

crate::config! {
    /// Configuration of [`Qwen3Next`].
    pub struct Qwen3NextConfig("qwen3_next"): DecoderConfig {
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// Tokens that the convolution of linear attention sees.
        linear_conv_kernel_dim: i64 = 4,
        /// Width of a head of keys in linear attention.
        linear_key_head_dim: i64 = 128,
        /// Width of a head of values in linear attention.
        linear_value_head_dim: i64 = 128,
        /// Heads of keys in linear attention.
        linear_num_key_heads: i64 = 16,
        /// Heads of values in linear attention.
        linear_num_value_heads: i64 = 32,
        /// Every so-manieth layer has experts.
        decoder_sparse_step: i64 = 1,
        /// Layers that have none all the same.
        mlp_only_layers: Vec<i64> = Vec::new(),
        /// Experts of a layer; without any all layers are dense.
        num_experts: i64 = 512,
        /// Experts of a token.
        num_experts_per_tok: i64 = 10,
        /// Width of an expert.
        moe_intermediate_size: i64 = 512,
        /// Width of the network that all tokens share beside their experts.
        shared_expert_intermediate_size: i64 = 512,
        /// Whether the weights of a token's experts add up to 1.
        norm_topk_prob: bool = true,
        /// Whether what the routers said, and how evenly they did, are outputs where the caller does not say.
        output_router_logits: bool = false,
        /// What mixes the tokens of each layer: `full_attention` or `linear_attention`.
        layer_types: Vec<String> = Vec::new(),
    }
    defaults: {
        vocab_size: 151936, hidden_size: 2048, intermediate_size: 5632, num_hidden_layers: 48, num_attention_heads: 16,
        num_key_value_heads: Some(2), head_dim: Some(256), max_position_embeddings: 32768,
        rope_parameters: RopeParameters::plain(10_000.0).partial(0.25)
    }
    // The interval is read by `upgrade`.
    ignored: ["router_aux_loss_coef", "full_attention_interval"]
    upgrade: upgrade;
    validate: validate;
}

fn upgrade(fields: &mut Map<String, Value>, default: &Qwen3NextConfig) -> Result<()> {
    let interval = fields.remove("full_attention_interval").as_ref().and_then(Value::as_i64).unwrap_or(4).max(1);
    let kind = |layer: i64| if (layer + 1) % interval == 0 { FULL } else { LINEAR };
    fill_layer_types(fields, default.num_hidden_layers, kind);
    if fields.get("mlp_only_layers").is_some_and(Value::is_null) {
        fields.insert("mlp_only_layers".into(), json!([]));
    }
    Ok(())
}

fn validate(config: &Qwen3NextConfig) -> Result<()> {
    config.rope(true)?;
    let heads = ("linear_num_value_heads", config.linear_num_value_heads);
    divides("qwen3_next", heads, ("linear_num_key_heads", config.linear_num_key_heads))?;
    positive(
        "qwen3_next",
        &[
            ("linear_conv_kernel_dim", config.linear_conv_kernel_dim),
            ("linear_key_head_dim", config.linear_key_head_dim),
            ("linear_value_head_dim", config.linear_value_head_dim),
            ("decoder_sparse_step", config.decoder_sparse_step),
            ("moe_intermediate_size", config.moe_intermediate_size),
            ("shared_expert_intermediate_size", config.shared_expert_intermediate_size),
        ],
    )?;
    if config.num_experts != 0 {
        let chosen = ("num_experts_per_tok", config.num_experts_per_tok);
        check_choice("qwen3_next", ("num_experts", config.num_experts), chosen)?;
    }
    check_layer_types("qwen3_next", &config.layer_types, config.num_hidden_layers, &[FULL, LINEAR])
}

decoder! {
    /// Qwen3-Next (Qwen, 2025): linear attention with the gated delta rule, gated attention in some layers, and experts;
    /// `transformers.models.qwen3_next`.
    pub struct Qwen3Next(Qwen3NextConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// Qwen3-Next's decoder.
pub fn spec(config: &Qwen3NextConfig) -> Result<DecoderSpec> {
    let norm = NormSpec::rms(config.rms_norm_eps);
    let delta = GatedDeltaSpec {
        hidden: config.hidden_size,
        key_heads: config.linear_num_key_heads,
        value_heads: config.linear_num_value_heads,
        key_dim: config.linear_key_head_dim,
        value_dim: config.linear_value_head_dim,
        kernel: config.linear_conv_kernel_dim,
        activation: config.hidden_act,
        norm,
    };
    let network = |width: i64| MlpSpec::gated(config.hidden_size, width, config.hidden_act);
    let router = RouterSpec::new(config.num_experts, config.num_experts_per_tok, Score::Softmax);
    let experts = MoeSpec {
        shared: Some(SharedSpec { mlp: network(config.shared_expert_intermediate_size), gated: true }),
        ..MoeSpec::new(router.renormalised(config.norm_topk_prob), network(config.moe_intermediate_size))
    };
    let sparse = |layer: usize| {
        let layer = layer as i64;
        config.num_experts > 0
            && (layer + 1) % config.decoder_sparse_step == 0
            && !config.mlp_only_layers.contains(&layer)
    };
    let spec = dense_with(config, Some(config.rope(true)?), norm.one_plus())
        .with_attention(|attention| {
            attention.bias = Biases::all(config.attention_bias);
            attention.qk_norm = Some(QkNorm::heads(norm.one_plus()));
            attention.gate = Some(Gate::Elements);
        })
        .with_layers(|index, layer| {
            if config.layer_types.get(index).is_some_and(|kind| kind == LINEAR) {
                layer.layer.mixer = MixerSpec::GatedDelta(delta);
            }
        })
        .with_experts(experts, sparse);
    Ok(DecoderSpec {
        // What predicts further tokens.
        names: Names { beside: &["mtp"], ..Names::new(table(config)) },
        router_logits: Some(config.output_router_logits),
        balance: Some(config.num_experts_per_tok),
        ..spec
    })
}

fn table(config: &Qwen3NextConfig) -> NameTable {
    let (head, key) = (config.head_dim(), config.linear_key_head_dim);
    let shared = config.linear_num_value_heads / config.linear_num_key_heads;
    let value = shared * config.linear_value_head_dim;
    expert_names(names())
        .names(&[
            ("layers.*.delta", "layers.*.linear_attn"),
            ("layers.*.mlp.shared.gate", "layers.*.mlp.shared_expert.gate_proj"),
            ("layers.*.mlp.shared.up", "layers.*.mlp.shared_expert.up_proj"),
            ("layers.*.mlp.shared.down", "layers.*.mlp.shared_expert.down_proj"),
            ("layers.*.mlp.shared_gate", "layers.*.mlp.shared_expert_gate"),
        ])
        .interleaved(
            "layers.*.self_attn.q_proj",
            config.num_attention_heads,
            &[("layers.*.attention.q", head), ("layers.*.attention.gate", head)],
        )
        .interleaved(
            "layers.*.linear_attn.in_proj_qkvz",
            config.linear_num_key_heads,
            &[
                ("layers.*.delta.q", key),
                ("layers.*.delta.k", key),
                ("layers.*.delta.v", value),
                ("layers.*.delta.z", value),
            ],
        )
        .interleaved(
            "layers.*.linear_attn.in_proj_ba",
            config.linear_num_key_heads,
            &[("layers.*.delta.b", shared), ("layers.*.delta.a", shared)],
        )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::config::ModelConfig;
    use crate::models::decoder::DecoderBody;
    use crate::weights::{LoadOptions, TensorSource, Weights};

    #[test]
    fn attention_comes_at_intervals_and_rotates_a_quarter_where_nothing_is_said() {
        let json =
            json!({"num_hidden_layers": 4, "full_attention_interval": 3, "rope_theta": 1e7, "rope_scaling": null});
        let config = Qwen3NextConfig::from_json(&json).unwrap();
        assert_eq!(config.layer_types, [LINEAR, LINEAR, FULL, LINEAR]);
        assert_eq!(config.rope(true).unwrap().width, 64);
    }

    #[test]
    fn what_predicts_further_tokens_is_passed_over() {
        let config = Qwen3NextConfig::from_json(&json!({
            "vocab_size": 3, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_experts": 0
        }));
        let tensors = BTreeMap::from([("mtp.fc.weight".to_owned(), Tensor::zeros([2, 2], (Kind::Float, Device::Cpu)))]);
        let weights = Weights::new(TensorSource::Memory(tensors), LoadOptions::default());
        DecoderBody::load(spec(&config.unwrap()).unwrap(), &weights, &["model", ""]);
        let (report, _) = weights.finish();
        assert!(report.unused.is_empty() && !report.missing.is_empty(), "{report}");
    }
}
