use serde_json::{Map, Value, json};

use crate::config::{divides, positive};
use crate::models::decoder::{DecoderConfig, DecoderSpec, Names, decoder, dense_with, names};
use crate::models::moe::check_choice;
use crate::nn::moe::{RouterSpec, Score};
use crate::nn::{MambaSpec, MixerSpec, MlpSpec, MoeSpec, NormSpec};
use crate::weights::NameTable;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Jamba`].
    pub struct JambaConfig("jamba"): DecoderConfig {
        /// Experts of the layers that have such; with one there are none.
        num_experts: i64 = 16,
        /// Experts of a token.
        num_experts_per_tok: i64 = 2,
        /// Every so-manieth layer has experts.
        expert_layer_period: i64 = 2,
        /// The first one that has.
        expert_layer_offset: i64 = 1,
        /// Every so-manieth layer attends, the others scan.
        attn_layer_period: i64 = 8,
        /// The first one that attends.
        attn_layer_offset: i64 = 4,
        /// Numbers that each channel of a scan carries.
        mamba_d_state: i64 = 16,
        /// Tokens that the convolution before a scan sees.
        mamba_d_conv: i64 = 4,
        /// Channels of a scan per element of the hidden states.
        mamba_expand: i64 = 2,
        /// Width from which time steps are made; a sixteenth of `hidden_size` where it is `auto`.
        mamba_dt_rank: i64 = 256,
        /// Whether the convolution has a bias.
        mamba_conv_bias: bool = true,
        /// Whether the projections into and out of the channels have a bias.
        mamba_proj_bias: bool = false,
        /// Whether what the routers said, and how evenly they did, are outputs where the caller does not say.
        output_router_logits: bool = false,
    }
    defaults: {
        vocab_size: 65536, intermediate_size: 14336, num_key_value_heads: Some(8), max_position_embeddings: 262_144,
        pad_token_id: Some(0)
    }
    without: ["rope_parameters", "max_position_embeddings"]
    undeclared: ["head_dim"]
    ignored: [
        "max_position_embeddings", "router_aux_loss_coef", "use_mamba_kernels", "use_mambapy", "use_associative_scan"
    ]
    aliases: [("num_local_experts", "num_experts")]
    upgrade: |fields: &mut Map<String, Value>, default: &JambaConfig| {
        if fields.get("mamba_dt_rank").is_none_or(|rank| rank == "auto") {
            let hidden = fields.get("hidden_size").map_or(Some(default.hidden_size), Value::as_i64);
            // A size that is no number is left for the parser to refuse.
            fields.insert("mamba_dt_rank".into(), json!(super::time_step_rank(hidden.unwrap_or(1))));
        }
        Ok(())
    };
    validate: validate;
}

fn validate(config: &JambaConfig) -> Result<()> {
    let heads = ("num_attention_heads", config.num_attention_heads);
    divides("jamba", heads, ("num_key_value_heads", config.kv_heads()))?;
    positive(
        "jamba",
        &[
            ("mamba_d_state", config.mamba_d_state),
            ("mamba_d_conv", config.mamba_d_conv),
            ("mamba_expand", config.mamba_expand),
            ("mamba_dt_rank", config.mamba_dt_rank),
        ],
    )?;
    let turns = [
        ("expert_layer_offset", config.expert_layer_offset, config.expert_layer_period),
        ("attn_layer_offset", config.attn_layer_offset, config.attn_layer_period),
    ];
    for (field, offset, period) in turns {
        if !(0..period).contains(&offset) {
            let message = format!("must be from 0 and below the period of such layers ({period}), got {offset}");
            return Err(Error::config("jamba", field, message));
        }
    }
    positive("jamba", &[("num_experts", config.num_experts), ("num_experts_per_tok", config.num_experts_per_tok)])?;
    match config.num_experts {
        1 => Ok(()),
        experts => check_choice("jamba", ("num_experts", experts), ("num_experts_per_tok", config.num_experts_per_tok)),
    }
}

decoder! {
    /// Jamba (Lieber et al., 2024): selective scans, attention without positions in some layers, experts in others;
    /// `transformers.models.jamba`.
    pub struct Jamba(JambaConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification]
}

/// Jamba's decoder.
pub fn spec(config: &JambaConfig) -> Result<DecoderSpec> {
    let norm = NormSpec::rms(config.rms_norm_eps);
    let mamba = MambaSpec {
        hidden: config.hidden_size,
        inner: config.mamba_expand * config.hidden_size,
        state: config.mamba_d_state,
        rank: config.mamba_dt_rank,
        kernel: config.mamba_d_conv,
        activation: config.hidden_act,
        conv_bias: config.mamba_conv_bias,
        bias: config.mamba_proj_bias,
        norms: Some(norm),
    };
    let router = RouterSpec::new(config.num_experts, config.num_experts_per_tok, Score::Softmax);
    let expert = MlpSpec::gated(config.hidden_size, config.intermediate_size, config.hidden_act);
    let every = |layer: usize, period: i64, offset: i64| layer as i64 % period == offset;
    let spec = dense_with(config, None, norm)
        .with_layers(|index, layer| {
            if !every(index, config.attn_layer_period, config.attn_layer_offset) {
                layer.layer.mixer = MixerSpec::Mamba(mamba);
            }
        })
        .with_experts(MoeSpec::new(router, expert), |index| {
            config.num_experts > 1 && every(index, config.expert_layer_period, config.expert_layer_offset)
        });
    Ok(DecoderSpec {
        names: Names::new(table()),
        router_logits: Some(config.output_router_logits),
        balance: Some(config.num_experts_per_tok),
        ..spec
    })
}

fn table() -> NameTable {
    names().names(&[
        ("norm", "final_layernorm"),
        ("layers.*.mamba.dt_norm", "layers.*.mamba.dt_layernorm"),
        ("layers.*.mamba.b_norm", "layers.*.mamba.b_layernorm"),
        ("layers.*.mamba.c_norm", "layers.*.mamba.c_layernorm"),
        ("layers.*.mlp_norm", "layers.*.pre_ff_layernorm"),
        ("layers.*.mlp", "layers.*.feed_forward"),
        ("layers.*.mlp.gate", "layers.*.feed_forward.gate_proj"),
        ("layers.*.mlp.up", "layers.*.feed_forward.up_proj"),
        ("layers.*.mlp.down", "layers.*.feed_forward.down_proj"),
        ("layers.*.mlp.experts.gate_up", "layers.*.feed_forward.experts.gate_up_proj"),
        ("layers.*.mlp.experts.down", "layers.*.feed_forward.experts.down_proj"),
        ("layers.*.mlp.experts.*.gate", "layers.*.feed_forward.experts.*.gate_proj"),
        ("layers.*.mlp.experts.*.up", "layers.*.feed_forward.experts.*.up_proj"),
        ("layers.*.mlp.experts.*.down", "layers.*.feed_forward.experts.*.down_proj"),
    ])
}
