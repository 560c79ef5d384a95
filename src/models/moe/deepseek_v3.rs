use serde_json::{Map, Value, json};

use super::{check_choice, expert_names};
use crate::config::{divides, positive};
use crate::models::decoder::{DecoderConfig, DecoderSpec, Names, decoder, dense, names};
use crate::nn::moe::{GroupRank, Groups, Renormalise, RouterSpec, Score, SharedSpec};
use crate::nn::rope::{Pairing, RopeSpec};
use crate::nn::{LatentAttentionSpec, MixerSpec, MlpSpec, MoeSpec, NormSpec};
use crate::weights::NameTable;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`DeepseekV3`].
    pub struct DeepseekV3Config("deepseek_v3"): DecoderConfig {
        /// Whether the projections to narrow vectors and the last one of attention have a bias.
        attention_bias: bool = false,
        /// Width of the vectors that queries come from; they come from the input where `None`.
        q_lora_rank: Option<i64> = Some(1536),
        /// Width of the vectors that keys and values come from.
        kv_lora_rank: i64 = 512,
        /// Width of the part of queries and keys that knows no position.
        qk_nope_head_dim: i64 = 128,
        /// Width of the part that is rotated.
        qk_rope_head_dim: i64 = 64,
        /// Width of the values of a head.
        v_head_dim: i64 = 128,
        /// Whether the pairs that are rotated stand side by side.
        rope_interleave: bool = true,
        /// Layers before the first one with experts.
        first_k_dense_replace: i64 = 3,
        /// Experts of a layer.
        n_routed_experts: i64 = 256,
        /// Experts of a token.
        num_experts_per_tok: i64 = 8,
        /// Width of an expert.
        moe_intermediate_size: i64 = 2048,
        /// How many times as wide is what all tokens share.
        n_shared_experts: i64 = 1,
        /// Groups of experts.
        n_group: i64 = 8,
        /// Groups that the experts of a token come from.
        topk_group: i64 = 4,
        /// Whether the weights of a token's experts add up to 1 before they are scaled.
        norm_topk_prob: bool = true,
        /// What they are multiplied by.
        routed_scaling_factor: f64 = 2.5,
        /// Layers after the last, which predict further tokens and are left out here.
        num_nextn_predict_layers: i64 = 1,
        /// Whether what the routers said is an output where the caller does not say.
        output_router_logits: bool = false,
    }
    defaults: {
        vocab_size: 129280, hidden_size: 7168, intermediate_size: 18432, num_hidden_layers: 61, num_attention_heads: 128,
        num_key_value_heads: Some(128), max_position_embeddings: 4096, head_dim: Some(64)
    }
    ignored: ["pretraining_tp", "qk_head_dim"]
    aliases: [("num_local_experts", "n_routed_experts"), ("num_mtp_layers", "num_nextn_predict_layers")]
    upgrade: upgrade;
    validate: validate;
}

/// What is called the width of a head is that of its rotated part, where nothing else is said.
fn upgrade(fields: &mut Map<String, Value>, default: &DeepseekV3Config) -> Result<()> {
    // What is no number is left for the parser to refuse.
    let rotated = fields.get("qk_rope_head_dim").and_then(Value::as_i64).unwrap_or(default.qk_rope_head_dim);
    fields.entry("head_dim").or_insert(json!(rotated));
    Ok(())
}

fn validate(config: &DeepseekV3Config) -> Result<()> {
    let name = "deepseek_v3";
    rope(config)?;
    positive(
        name,
        &[
            ("q_lora_rank", config.q_lora_rank.unwrap_or(1)),
            ("kv_lora_rank", config.kv_lora_rank),
            ("qk_nope_head_dim", config.qk_nope_head_dim),
            ("v_head_dim", config.v_head_dim),
            ("moe_intermediate_size", config.moe_intermediate_size),
            ("n_shared_experts", config.n_shared_experts),
            ("n_group", config.n_group),
        ],
    )?;
    if config.head_dim() != config.qk_rope_head_dim {
        let message =
            format!("must be that of `qk_rope_head_dim` ({}), got {}", config.qk_rope_head_dim, config.head_dim());
        return Err(Error::config(name, "head_dim", message));
    }
    let heads = config.num_attention_heads;
    if config.kv_heads() != heads {
        let message = format!("keys and values have as many heads as queries ({heads}), got {}", config.kv_heads());
        return Err(Error::config(name, "num_key_value_heads", message));
    }
    divides(name, ("n_routed_experts", config.n_routed_experts), ("n_group", config.n_group))?;
    let group = config.n_routed_experts / config.n_group;
    if group < 2 {
        return Err(Error::config(name, "n_group", "leaves fewer than two experts per group, whose two best rank it"));
    }
    check_choice(name, ("n_group", config.n_group), ("topk_group", config.topk_group))?;
    let open = ("topk_group", config.topk_group * group);
    check_choice(name, open, ("num_experts_per_tok", config.num_experts_per_tok))?;
    match (0..=64).contains(&config.num_nextn_predict_layers) {
        true => Ok(()),
        false => Err(Error::config(name, "num_nextn_predict_layers", "must be from 0 to 64")),
    }
}

fn rope(config: &DeepseekV3Config) -> Result<RopeSpec> {
    let pairing = if config.rope_interleave { Pairing::Interleaved } else { Pairing::Half };
    Ok(RopeSpec { pairing, ..config.rope(false)? })
}

decoder! {
    /// DeepSeek-V3 (DeepSeek-AI, 2024), a decoder with latent attention and experts in groups;
    /// `transformers.models.deepseek_v3`.
    pub struct DeepseekV3(DeepseekV3Config) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// DeepSeek-V3's decoder.
pub fn spec(config: &DeepseekV3Config) -> Result<DecoderSpec> {
    let (nope_dim, rope_dim) = (config.qk_nope_head_dim, config.qk_rope_head_dim);
    let attention = LatentAttentionSpec {
        hidden: config.hidden_size,
        heads: config.num_attention_heads,
        q_rank: config.q_lora_rank,
        kv_rank: config.kv_lora_rank,
        nope_dim,
        rope_dim,
        v_dim: config.v_head_dim,
        scale: ((nope_dim + rope_dim) as f64).powf(-0.5)
            * config.rope_parameters.same("deepseek_v3")?.score_scale("deepseek_v3")?,
        bias: config.attention_bias,
        // Whatever `rms_norm_eps` says.
        norm: NormSpec::rms(1e-6),
    };
    let router = RouterSpec {
        wide: true,
        correction: true,
        groups: Some(Groups {
            count: config.n_group,
            kept: config.topk_group,
            rank: GroupRank::TopTwo,
            masked: f64::NEG_INFINITY,
        }),
        renormalise: if config.norm_topk_prob { Renormalise::Sum(1e-20) } else { Renormalise::None },
        scale: config.routed_scaling_factor,
        ..RouterSpec::new(config.n_routed_experts, config.num_experts_per_tok, Score::Sigmoid)
    };
    let mlp = |width| MlpSpec::gated(config.hidden_size, width, config.hidden_act);
    let shared = SharedSpec { mlp: mlp(config.moe_intermediate_size * config.n_shared_experts), gated: false };
    let moe = MoeSpec { shared: Some(shared), ..MoeSpec::new(router, mlp(config.moe_intermediate_size)) };
    let spec = dense(config, rope(config)?)
        .with_layers(|_, layer| layer.layer.mixer = MixerSpec::Latent(attention))
        .with_experts(moe, |layer| layer as i64 >= config.first_k_dense_replace);
    let names = Names { spare_layers: config.num_nextn_predict_layers, ..Names::new(table()) };
    Ok(DecoderSpec { names, router_logits: Some(config.output_router_logits), ..spec })
}

fn table() -> NameTable {
    expert_names(names())
        .names(&[
            ("layers.*.attention.q_down", "layers.*.self_attn.q_a_proj"),
            ("layers.*.attention.q_norm", "layers.*.self_attn.q_a_layernorm"),
            ("layers.*.attention.q_up", "layers.*.self_attn.q_b_proj"),
            ("layers.*.attention.kv_down", "layers.*.self_attn.kv_a_proj_with_mqa"),
            ("layers.*.attention.kv_norm", "layers.*.self_attn.kv_a_layernorm"),
            ("layers.*.attention.kv_up", "layers.*.self_attn.kv_b_proj"),
        ])
        .precise("layers.*.mlp.router.correction", "layers.*.mlp.gate.e_score_correction_bias")
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::config::ModelConfig;
    use crate::model::Head;
    use crate::tasks::FeatureExtraction;
    use crate::weights::{LoadOptions, TensorSource, Weights};

    #[test]
    fn layers_after_the_last_are_left_out() {
        let unused = |spare: i64| {
            let config = json!({
                "num_hidden_layers": 2, "num_nextn_predict_layers": spare, "n_routed_experts": 16, "vocab_size": 5,
            });
            let config = DeepseekV3Config::from_json(&config).unwrap();
            let stored = ["layers.2.eh_proj.weight", "layers.3.eh_proj.weight"];
            let tensor = || Tensor::zeros([1], (Kind::Float, Device::Cpu));
            let stored = stored.map(|name| (name.to_owned(), tensor())).into();
            let weights = Weights::new(TensorSource::Memory(stored), LoadOptions::default());
            <DeepseekV3 as Head<FeatureExtraction>>::load(&config, &weights).unwrap();
            weights.finish().0.unused
        };
        assert_eq!(unused(1), ["layers.3.eh_proj.weight"]);
        assert!(unused(2).is_empty());
    }
}
