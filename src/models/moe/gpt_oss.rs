use serde_json::{Map, Value, json};

use super::check_choice;
use crate::models::decoder::{
    DecoderConfig, DecoderSpec, FULL, Names, SLIDING, check_layer_types, decoder, dense, fill_layer_types, names,
};
use crate::nn::moe::{Ranking, RouterSpec, Score, Storage, Weighting};
use crate::nn::rope::{RopeParameters, RopeSettings, RopeType};
use crate::nn::{Biases, GateLimit, MlpSpec, MoeSpec, NormSpec};
use crate::weights::NameTable;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`GptOss`].
    pub struct GptOssConfig("gpt_oss"): DecoderConfig {
        /// Whether the projections of attention have a bias.
        attention_bias: bool = true,
        /// How many tokens back layers with a window see, themselves included.
        sliding_window: i64 = 128,
        /// What each layer sees: `full_attention` or `sliding_attention`.
        layer_types: Vec<String> = Vec::new(),
        /// Experts of a layer.
        num_local_experts: i64 = 128,
        /// Experts of a token.
        num_experts_per_tok: i64 = 4,
        /// Slope of the sigmoid in the gate of an expert.
        swiglu_alpha: f64 = 1.702,
        /// Bound of that gate from above, and of what it gates on either side.
        swiglu_limit: f64 = 7.0,
        /// Whether what the routers said, and how evenly they did, are outputs where the caller does not say.
        output_router_logits: bool = false,
    }
    defaults: {
        num_hidden_layers: 36, vocab_size: 201088, hidden_size: 2880, intermediate_size: 2880, head_dim: Some(64),
        num_attention_heads: 64, num_key_value_heads: Some(8), max_position_embeddings: 131072, rms_norm_eps: 1e-5,
        rope_parameters: stretched()
    }
    ignored: ["router_aux_loss_coef"]
    aliases: [("num_experts", "num_local_experts")]
    upgrade: upgrade;
    validate: validate;
}

/// YaRN from 4096 positions to 32 times as many.
fn stretched() -> RopeParameters {
    RopeParameters::Same(Box::new(RopeSettings {
        rope_type: RopeType::Yarn,
        factor: Some(32.0),
        beta_fast: Some(32.0),
        beta_slow: Some(1.0),
        truncate: Some(false),
        original_max_position_embeddings: Some(4096),
        ..RopeSettings::plain(150_000.0)
    }))
}

/// Every other layer has a window, the first included; positions are stretched where nothing is said of them.
fn upgrade(fields: &mut Map<String, Value>, default: &GptOssConfig) -> Result<()> {
    if ["rope_parameters", "rope_scaling"].iter().all(|field| fields.get(*field).is_none_or(Value::is_null)) {
        let mut rope = json!(default.rope_parameters);
        if let Some(theta) = fields.remove("rope_theta").filter(Value::is_number) {
            rope["rope_theta"] = theta;
        }
        fields.insert("rope_parameters".into(), rope);
    }
    fill_layer_types(fields, default.num_hidden_layers, |layer| if layer % 2 == 0 { SLIDING } else { FULL });
    Ok(())
}

fn validate(config: &GptOssConfig) -> Result<()> {
    config.rope(false)?;
    check_layer_types("gpt_oss", &config.layer_types, config.num_hidden_layers, &[FULL, SLIDING])?;
    let chosen = ("num_experts_per_tok", config.num_experts_per_tok);
    check_choice("gpt_oss", ("num_local_experts", config.num_local_experts), chosen)?;
    match config.swiglu_limit >= 0.0 {
        true => Ok(()),
        false => {
            Err(Error::config("gpt_oss", "swiglu_limit", format!("must not be negative, got {}", config.swiglu_limit)))
        }
    }
}

decoder! {
    /// gpt-oss (OpenAI, 2025), a decoder with experts, attention sinks and a window on every other layer;
    /// `transformers.models.gpt_oss`.
    pub struct GptOss(GptOssConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// gpt-oss's decoder. Its experts have an activation of their own, whatever `hidden_act` says.
pub fn spec(config: &GptOssConfig) -> Result<DecoderSpec> {
    let norm = NormSpec::rms(config.rms_norm_eps).wide();
    let router = RouterSpec {
        bias: true,
        ranking: Ranking::Logits,
        weighting: Weighting::SelectedSoftmax,
        ..RouterSpec::new(config.num_local_experts, config.num_experts_per_tok, Score::Softmax)
    };
    let expert = MlpSpec {
        bias: true,
        limit: Some(GateLimit { bound: config.swiglu_limit, slope: Some(config.swiglu_alpha) }),
        interleaved: true,
        ..MlpSpec::gated(config.hidden_size, config.intermediate_size, config.hidden_act)
    };
    let moe = MoeSpec { storage: Storage::StackedTransposed, ..MoeSpec::new(router, expert) };
    let spec = dense(config, config.rope(false)?)
        .with_attention(|attention| {
            attention.bias = Biases::all(config.attention_bias);
            attention.sinks = true;
        })
        .with_windows(&config.layer_types, Some(config.sliding_window))
        .with_experts(moe, |_| true)
        .with_layers(|_, layer| layer.layer.norm = norm);
    Ok(DecoderSpec {
        final_norm: Some(norm),
        names: Names::new(table()),
        router_logits: Some(config.output_router_logits),
        balance: Some(config.num_experts_per_tok),
        ..spec
    })
}

fn table() -> NameTable {
    names()
        .names(&[
            ("layers.*.mlp.experts.gate_up", "layers.*.mlp.experts.gate_up_proj"),
            ("layers.*.mlp.experts.gate_up_bias", "layers.*.mlp.experts.gate_up_proj_bias"),
            ("layers.*.mlp.experts.down", "layers.*.mlp.experts.down_proj"),
            ("layers.*.mlp.experts.down_bias", "layers.*.mlp.experts.down_proj_bias"),
        ])
        .wide("layers.*.attention_norm", "layers.*.input_layernorm")
        .wide("layers.*.mlp_norm", "layers.*.post_attention_layernorm")
        .wide("norm", "norm")
}
