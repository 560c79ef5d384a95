use serde_json::{Map, Value, json};

use super::{check_choice, expert_names};
use crate::Result;
use crate::config::positive;
use crate::models::decoder::{DecoderConfig, DecoderSpec, Names, decoder, dense, names};
use crate::nn::moe::{RouterSpec, Score};
use crate::nn::{Biases, MlpSpec, MoeSpec, NormSpec, QkNorm};

crate::config! {
    /// Configuration of [`Qwen3Moe`].
    pub struct Qwen3MoeConfig("qwen3_moe"): DecoderConfig {
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// Whether layers see a window of tokens only.
        use_sliding_window: bool = false,
        /// How many tokens back they see then, themselves included.
        sliding_window: Option<i64> = None,
        /// Every so-manieth layer has experts.
        decoder_sparse_step: i64 = 1,
        /// Layers that have none all the same.
        mlp_only_layers: Vec<i64> = Vec::new(),
        /// Experts of a layer; without any all layers are dense.
        num_local_experts: i64 = 128,
        /// Experts of a token.
        num_experts_per_tok: i64 = 8,
        /// Width of an expert.
        moe_intermediate_size: i64 = 768,
        /// Whether the weights of a token's experts add up to 1.
        norm_topk_prob: bool = false,
        /// Whether what the routers said, and how evenly they did, are outputs where the caller does not say.
        output_router_logits: bool = false,
    }
    defaults: {
        vocab_size: 151936, hidden_size: 2048, intermediate_size: 6144, num_hidden_layers: 24,
        num_key_value_heads: Some(4), max_position_embeddings: 32768
    }
    undeclared: ["head_dim"]
    ignored: ["max_window_layers", "router_aux_loss_coef"]
    aliases: [("num_experts", "num_local_experts")]
    upgrade: upgrade;
    validate: |config: &Qwen3MoeConfig| {
        config.rope(false)?;
        let sizes =
            [("moe_intermediate_size", config.moe_intermediate_size), ("decoder_sparse_step", config.decoder_sparse_step)];
        positive("qwen3_moe", &sizes)?;
        match config.num_local_experts {
            0 => Ok(()),
            experts => check_choice(
                "qwen3_moe", ("num_local_experts", experts), ("num_experts_per_tok", config.num_experts_per_tok),
            ),
        }
    };
}

/// Without `use_sliding_window` there is no window, whatever `sliding_window` says.
fn upgrade(fields: &mut Map<String, Value>, default: &Qwen3MoeConfig) -> Result<()> {
    match fields.get("use_sliding_window").and_then(Value::as_bool).unwrap_or(default.use_sliding_window) {
        true => drop(fields.entry("sliding_window").or_insert(4096.into())),
        false => drop(fields.insert("sliding_window".into(), Value::Null)),
    }
    if fields.get("mlp_only_layers").is_some_and(Value::is_null) {
        fields.insert("mlp_only_layers".into(), json!([]));
    }
    Ok(())
}

decoder! {
    /// Qwen3-MoE (Yang et al., 2025), Qwen3 with experts; `transformers.models.qwen3_moe`.
    pub struct Qwen3Moe(Qwen3MoeConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// Qwen3-MoE's decoder.
pub fn spec(config: &Qwen3MoeConfig) -> Result<DecoderSpec> {
    let router = RouterSpec::new(config.num_local_experts, config.num_experts_per_tok, Score::Softmax);
    let expert = MlpSpec::gated(config.hidden_size, config.moe_intermediate_size, config.hidden_act);
    let moe = MoeSpec::new(router.renormalised(config.norm_topk_prob), expert);
    let sparse = |layer: usize| {
        let layer = layer as i64;
        config.num_local_experts > 0
            && (layer + 1) % config.decoder_sparse_step == 0
            && !config.mlp_only_layers.contains(&layer)
    };
    let qk_norm = Some(QkNorm::heads(NormSpec::rms(config.rms_norm_eps)));
    let spec = dense(config, config.rope(false)?)
        .with_attention(|attention| {
            attention.qk_norm = qk_norm;
            attention.bias = Biases::all(config.attention_bias);
        })
        .with_layers(|_, layer| layer.window = config.sliding_window)
        .with_experts(moe, sparse);
    Ok(DecoderSpec {
        names: Names::new(expert_names(names())),
        router_logits: Some(config.output_router_logits),
        balance: Some(config.num_experts_per_tok),
        ..spec
    })
}
